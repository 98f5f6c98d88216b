package ebpf

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/sys/unix"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/lb"
	"github.com/fairlead-net/fairlead/internal/lb/pin"
)

// count returns the number of entries of a map.
func count(t testing.TB, p *Plane, name string) int {
	t.Helper()
	n := 0
	var key, value []byte
	entries := p.maps[name].Iterate()
	for entries.Next(&key, &value) {
		n++
	}
	if err := entries.Err(); err != nil {
		t.Fatal(err)
	}
	return n
}

// attachedTo returns the names of the programs that are attached to a cgroup,
// in the order in which they run, by hook.
func attachedTo(t testing.TB, cgroup string) map[ebpf.AttachType][]ebpf.ProgramID {
	t.Helper()
	directory, err := os.Open(cgroup)
	if err != nil {
		t.Fatal(err)
	}
	defer directory.Close()
	attached := map[ebpf.AttachType][]ebpf.ProgramID{}
	for _, h := range hooks {
		result, err := link.QueryPrograms(link.QueryOptions{Target: int(directory.Fd()), Attach: h.attach})
		if err != nil {
			t.Fatal(err)
		}
		for _, program := range result.Programs {
			attached[h.attach] = append(attached[h.attach], program.ID)
		}
	}
	return attached
}

// holds expects the kernel to say exactly what entries say, and no list to be
// left over.
func (w *world) holds(p *Plane, entries map[lb.Frontend]*lb.Entry) {
	w.t.Helper()
	want := map[lb.Frontend]*lb.Entry{}
	backends, members := 0, 0
	for f, e := range entries {
		if handles(f) {
			want[f] = valueOf(e, 0).entry(e.Backends)
			slots, _ := slotsOf(0, f.Protocol, e)
			backends += len(slots)
			members += len(membersOf(0, f.Protocol, e))
		}
	}
	got, err := p.Dump()
	if err != nil {
		w.t.Fatal(err)
	}
	if d := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
		cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b }), cmpopts.EquateEmpty()); d != "" {
		w.t.Fatalf("the kernel differs (-want +got):\n%s", d)
	}
	if n := count(w.t, p, socketMapBackends); n != backends {
		w.t.Errorf("%d backends in the kernel, want %d", n, backends)
	}
	if n := count(w.t, p, socketMapMembers); n != members {
		w.t.Errorf("%d members in the kernel, want %d", n, members)
	}
}

// TestRestart replaces the process again and again, in ways that keep the maps
// and in ways that replace them, while a client connects without a pause.
func TestRestart(t *testing.T) {
	w := newWorld(t)
	entries := services()
	w.serveAll(entries)
	p := w.plane()
	w.apply(p, table(entries))
	to := netip.MustParseAddrPort("10.96.0.1:80")
	for i, r := range []request{{To: to}, {UDP: true, To: to}} {
		r.Do, r.Socket = "connect", i
		if a := w.do(r); a.Errno != 0 {
			t.Fatalf("answer %+v", a)
		}
	}
	w.do(request{Do: "send", Socket: 2, UDP: true, To: to})
	w.do(request{Do: "storm", To: to})
	second := w.startClient(w.cgroup)
	if _, err := second.do(request{Do: "storm", UDP: true, To: to}); err != nil {
		t.Fatal(err)
	}
	for i := range 12 {
		p.Close()
		config := w.config()
		config.Sizes.Frontends = uint32(1000 + i/2) // every other time new maps
		p = w.planeOf(config)
		unsynced := table(nil)
		unsynced.Synced = false
		w.apply(p, unsynced) // a process that has not read everything yet
		w.apply(p, table(entries))
		w.holds(p, entries)
		time.Sleep(50 * time.Millisecond)
	}
	for _, client := range []*runner{w.client, second} {
		a, err := client.do(request{Do: "calm"})
		if err != nil || a.Text != "" || a.Count < 1000 {
			t.Errorf("of %d connections, want at least 1000, one failed: %q (%v)", a.Count, a.Text, err)
		}
	}
	for i := range 2 {
		if a := w.do(request{Do: "talk", Socket: i}); a.Errno != 0 {
			t.Errorf("an old connection answers %+v", a)
		}
	}
	if a := w.do(request{Do: "send", Socket: 2, UDP: true, To: to}); a.Peer != to {
		t.Errorf("an old socket gets %+v", a)
	}
	if folders := pin.Folders(w.config().Directory); len(folders) != 1 {
		t.Errorf("folders %v are left, want one", folders)
	}
	for attach, programs := range attachedTo(t, w.cgroup) {
		if len(programs) != 1 {
			t.Errorf("%d programs at %s, want 1", len(programs), attach)
		}
	}
}

// TestPrivileges runs a process and its successor with no more capabilities than
// the chart gives them.
func TestPrivileges(t *testing.T) {
	w := newWorld(t)
	failed := make(chan error)
	go func() {
		// The thread is not unlocked, so it ends with its capabilities.
		runtime.LockOSThread()
		failed <- func() error {
			header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
			var sets [2]unix.CapUserData
			for _, c := range []uint{unix.CAP_BPF, unix.CAP_NET_ADMIN, unix.CAP_PERFMON} {
				sets[c/32].Effective |= 1 << (c % 32)
				sets[c/32].Permitted |= 1 << (c % 32)
			}
			if err := unix.Capset(&header, &sets[0]); err != nil {
				return err
			}
			for range 2 {
				p, err := New(w.config())
				if err != nil {
					return err
				}
				err = p.Apply(context.Background(), table(services()))
				if err = errors.Join(err, p.Close()); err != nil {
					return err
				}
			}
			return Remove(w.config().Directory)
		}()
	}()
	if err := <-failed; err != nil {
		t.Error(err)
	}
}

// TestNeighbours expects programs that others attached to stay where they are.
func TestNeighbours(t *testing.T) {
	w := newWorld(t)
	other := w.config()
	other.Directory = filepath.Join(w.bpffs, "other")
	w.apply(w.planeOf(other), table(nil))
	before := attachedTo(t, w.cgroup)
	p := w.plane()
	w.apply(p, table(services()))
	p.Close()
	p = w.plane()
	w.apply(p, table(services()))
	for attach, programs := range attachedTo(t, w.cgroup) {
		if len(programs) != 2 || programs[0] != before[attach][0] {
			t.Errorf("programs %v at %s, want %v and ours", programs, attach, before[attach])
		}
	}
	if err := Remove(w.config().Directory); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(before, attachedTo(t, w.cgroup)); d != "" {
		t.Errorf("removal changed what others attached:\n%s", d)
	}
}

// TestRemove expects nothing to be left, even while a Plane still has
// everything open, and a second removal to be fine.
func TestRemove(t *testing.T) {
	w := newWorld(t)
	w.apply(w.plane(), table(services()))
	for range 2 {
		if err := Remove(w.config().Directory); err != nil {
			t.Fatal(err)
		}
	}
	if attached := attachedTo(t, w.cgroup); len(attached) != 0 {
		t.Errorf("still attached: %v", attached)
	}
	if _, err := os.Stat(w.config().Directory); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s is still there: %v", w.config().Directory, err)
	}
}

// TestCgroupReplaced starts a Plane again after its cgroup was made anew.
func TestCgroupReplaced(t *testing.T) {
	w := newWorld(t)
	config := w.config()
	for range 2 {
		config.Cgroup = filepath.Join(w.cgroup, "node")
		if err := os.Mkdir(config.Cgroup, 0o755); err != nil {
			t.Fatal(err)
		}
		p := w.planeOf(config)
		w.apply(p, table(services()))
		if n := len(attachedTo(t, config.Cgroup)); n != len(hooks) {
			t.Errorf("%d programs attached, want %d", n, len(hooks))
		}
		p.Close()
		if err := os.Remove(config.Cgroup); err != nil {
			t.Fatal(err)
		}
	}
}

var errCrash = errors.New("crash")

// TestCrash stops a process after each of its steps, in turn, and expects the
// maps to be whole at that moment and the next process to find its way.
func TestCrash(t *testing.T) {
	before, after := services(), services()
	delete(after, frontend("10.96.0.2:53", desired.UDP))
	after[frontend("10.96.0.1:80", desired.TCP)] = &lb.Entry{Backends: addrPorts("127.0.1.2:8080", "127.0.1.7:8080"), Affinity: time.Hour}
	after[frontend("10.96.0.1:80", desired.UDP)] = &lb.Entry{Backends: addrPorts("127.0.1.9:8080")}
	after[frontend("10.96.0.9:80", desired.TCP)] = &lb.Entry{Backends: addrPorts("127.0.1.9:8080")}
	after[frontend("10.96.0.6:80", desired.TCP)] = &lb.Entry{Backends: addrPorts("127.0.1.6:8080")}
	for _, resize := range []bool{false, true} {
		for stop := range 12 {
			t.Run(fmt.Sprintf("resize %t, step %d", resize, stop), func(t *testing.T) {
				crashAt(t, stop, resize, before, after)
			})
		}
	}
}

func crashAt(t *testing.T, stop int, resize bool, before, after map[lb.Frontend]*lb.Entry) {
	w := newWorld(t)
	p := w.plane()
	w.apply(p, table(before))
	p.Close()
	config := w.config()
	if resize {
		config.Sizes.Backends = 5000
	}
	p = w.planeOf(config)
	steps := 0
	p.step = func(string) error {
		if steps++; steps > stop {
			return errCrash
		}
		return nil
	}
	if err := p.Apply(context.Background(), table(after)); (err == nil) != (steps <= stop) {
		t.Fatalf("apply says %v after %d steps", err, steps)
	}
	p.Close()
	reader, err := Open(config.Directory)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	now, err := reader.Dump()
	if err != nil {
		t.Fatal(err)
	}
	for f, e := range now {
		old, had := before[f]
		fresh, has := after[f]
		if !(had && alike(e, old)) && !(has && alike(e, fresh)) {
			t.Errorf("%s reads %+v after the crash, which it never was to be", f, e)
		}
	}
	p = w.planeOf(config)
	w.apply(p, table(after))
	w.holds(p, after)
	if n := len(attachedTo(t, w.cgroup)); n != len(hooks) {
		t.Errorf("%d programs attached, want %d", n, len(hooks))
	}
}
