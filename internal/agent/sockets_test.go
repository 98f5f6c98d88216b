package agent

import (
	"os"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/fairlead-net/fairlead/internal/config"
	"github.com/fairlead-net/fairlead/internal/lb/ebpf"
)

// bpffs runs do with a BPF file system of its own, which is gone afterwards.
func bpffs(t *testing.T, do func(directory string)) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("this test mounts a BPF file system and loads programs: run it as root")
	}
	directory := t.TempDir()
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread, and its mounts, end with the goroutine
		err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS)
		if err == nil {
			err = unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
		}
		if err == nil {
			err = unix.Mount("bpf", directory, "bpf", 0, "")
		}
		if err == nil {
			do(directory)
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Fatal("a BPF file system of the test's own:", err)
	}
}

// TestSocketsOfAnother expects a process to give up where another serves the
// sockets, instead of serving packets alone beside it.
func TestSocketsOfAnother(t *testing.T) {
	cgroup, err := ebpf.FindCgroup("/")
	if err != nil {
		t.Fatal(err)
	}
	bpffs(t, func(directory string) {
		for _, dataplane := range []string{config.Auto, config.EBPF} {
			a := bare(t, Options{})
			a.options.Config.LB.BPFFS, a.options.Config.LB.CgroupRoot, a.options.Config.LB.ServiceDataplane = directory+"/fairlead", cgroup, dataplane
			first, why, err := a.newSockets()
			if err != nil || first == nil || !strings.HasPrefix(why, "eBPF in sockets") {
				t.Errorf("%s: %v, %q", dataplane, err, why)
				return
			}
			second, _, err := a.newSockets()
			if err == nil || second != nil || !strings.HasPrefix(err.Error(), "two Fairlead processes want to serve this node; find the other one") ||
				!strings.Contains(err.Error(), directory) {
				t.Errorf("%s, beside another: %v, %v", dataplane, second, err)
			}
			if err := first.Close(); err != nil {
				t.Error(err)
			}
			third, _, err := a.newSockets()
			if err != nil || third == nil {
				t.Errorf("%s, after the other: %v", dataplane, err)
				return
			}
			_ = third.Close()
		}
	})
}

// TestSocketsFallBack expects auto, and auto alone, to do without eBPF.
func TestSocketsFallBack(t *testing.T) {
	a := bare(t, Options{})
	a.options.Config.LB.BPFFS = t.TempDir() // is no BPF file system
	plane, why, err := a.newSockets()
	if err != nil || plane != nil || !strings.HasPrefix(why, "nftables alone, as eBPF cannot be used here (lb.serviceDataplane: auto): ") || !strings.Contains(why, "is not on a bpffs") {
		t.Errorf("auto: %v, %q, %v", plane, why, err)
	}
	a.options.Config.LB.ServiceDataplane = config.EBPF
	if _, _, err := a.newSockets(); err == nil || !strings.Contains(err.Error(), "is not on a bpffs") {
		t.Errorf("ebpf: %v", err)
	}
}
