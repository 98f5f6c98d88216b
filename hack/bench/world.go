package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/fairlead-net/fairlead/internal/lb/ebpf"
)

// world makes namespaces, cgroups and processes, and ends them.
type world struct {
	directory string
	made      int

	mu      sync.Mutex
	closers []func()
}

func newWorld() (*world, error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("namespaces, nftables and BPF programs need root: run it as root")
	}
	directory, err := os.MkdirTemp("", "fairlead-bench-")
	if err != nil {
		return nil, err
	}
	w := &world{directory: directory}
	w.onClose(func() { _ = os.RemoveAll(directory) })
	return w, unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
}

func (w *world) close() {
	w.mu.Lock() // for ever: nothing is made after this
	for _, end := range slices.Backward(w.closers) {
		end()
	}
}

// onClose notes what is to be done in the end; what was noted last comes first.
func (w *world) onClose(end func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closers = append(w.closers, end)
}

// closeOnSignal leaves nothing behind where a user ends the bench.
func (w *world) closeOnSignal() {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, unix.SIGTERM)
	got := <-signals
	w.close()
	exit(fmt.Errorf("ended by a signal: %s", got))
}

// bpffs mounts a BPF file system.
func (w *world) bpffs() (string, error) {
	w.made++
	path := filepath.Join(w.directory, fmt.Sprint("bpf", w.made))
	if err := os.Mkdir(path, 0o700); err != nil {
		return "", err
	}
	if err := unix.Mount("bpf", path, "bpf", 0, ""); err != nil {
		return "", fmt.Errorf("mounting a BPF file system: %w", err)
	}
	w.onClose(func() { _ = unix.Unmount(path, unix.MNT_DETACH) })
	return path, nil
}

// cgroup makes a cgroup whose processes a plane can serve.
func (w *world) cgroup() (string, error) {
	root, err := ebpf.FindCgroup("/")
	if err != nil {
		return "", err
	}
	path, err := os.MkdirTemp(root, "fairlead-bench-")
	if err == nil {
		w.onClose(func() { _ = os.Remove(path) })
	}
	return path, err
}

// within runs do on a thread that is in a network namespace.
func within(ns netns.NsHandle, do func() error) error {
	failed := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		err := netns.Set(ns)
		if err == nil {
			err = do()
		}
		failed <- err
	}()
	return <-failed
}

// namespace makes a network namespace that forwards.
func (w *world) namespace() (netns.NsHandle, error) {
	var ns netns.NsHandle
	failed := make(chan error)
	go func() {
		runtime.LockOSThread()
		var err error
		if ns, err = netns.New(); err == nil {
			err = forwarding()
		}
		failed <- err
	}()
	err := <-failed
	if err == nil {
		w.onClose(func() { _ = ns.Close() })
	}
	return ns, err
}

func forwarding() error {
	for _, sysctl := range []string{
		"ipv4/ip_forward=1", "ipv4/conf/all/rp_filter=0", "ipv4/conf/default/rp_filter=0", "ipv6/conf/all/disable_ipv6=1",
	} {
		name, value, _ := strings.Cut(sysctl, "=")
		if err := os.WriteFile("/proc/sys/net/"+name, []byte(value), 0); err != nil {
			return err
		}
	}
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	return netlink.LinkSetUp(lo)
}

// end is one end of a link: an interface with an address.
type end struct {
	ns            netns.NsHandle
	name, address string
}

func (w *world) link(a, b end) error {
	err := within(a.ns, func() error {
		veth := netlink.NewVeth(netlink.LinkAttrs{Name: a.name})
		veth.PeerName, veth.PeerNamespace = b.name, netlink.NsFd(int(b.ns))
		return netlink.LinkAdd(veth)
	})
	for _, e := range []end{a, b} {
		err = errors.Join(err, within(e.ns, func() error {
			l, err := netlink.LinkByName(e.name)
			if err != nil {
				return err
			}
			address, err := netlink.ParseAddr(e.address)
			if err != nil {
				return err
			}
			return errors.Join(netlink.AddrAdd(l, address), netlink.LinkSetUp(l))
		}))
	}
	return err
}

func route(ns netns.NsHandle, to, via string) error {
	return within(ns, func() error {
		_, dst, err := net.ParseCIDR(to)
		if err != nil {
			return err
		}
		return netlink.RouteAdd(&netlink.Route{Dst: dst, Gw: net.ParseIP(via)})
	})
}

// process is a child that answers each line of JSON by one. It ends when its
// input does.
type process struct {
	name     string
	requests *json.Encoder
	answers  *json.Decoder
	stop     func()
}

// place says where a process runs: a network namespace, a cgroup unless it is
// empty, and a processor unless it is negative.
type place struct {
	ns     netns.NsHandle
	cgroup string
	cpu    int
}

func (w *world) start(at place, program string, args ...string) (*process, error) {
	cmd := exec.CommandContext(context.Background(), program, args...)
	// A client makes system calls that a signal of Go's scheduler would interrupt.
	cmd.Env = append(os.Environ(), "GODEBUG=asyncpreemptoff=1")
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &unix.SysProcAttr{}
	if at.cgroup != "" {
		directory, err := os.Open(at.cgroup)
		if err != nil {
			return nil, err
		}
		defer func() { _ = directory.Close() }()
		cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, int(directory.Fd())
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	err = within(at.ns, func() error {
		if at.cpu >= 0 {
			var set unix.CPUSet
			set.Set(at.cpu)
			if err := unix.SchedSetaffinity(0, &set); err != nil {
				return err
			}
		}
		return cmd.Start()
	})
	if err != nil {
		return nil, err
	}
	var once sync.Once
	p := &process{name: strings.Join(append([]string{filepath.Base(program)}, args...), " "), requests: json.NewEncoder(in), answers: json.NewDecoder(bufio.NewReader(out))}
	p.stop = func() {
		once.Do(func() {
			_ = in.Close()
			_ = cmd.Wait()
		})
	}
	w.onClose(p.stop)
	return p, nil
}

// ask sends a request and reads the answer.
func (p *process) ask(request, answer any) error {
	if err := p.requests.Encode(request); err != nil {
		return fmt.Errorf("%s: %w", p.name, err)
	}
	if err := p.answers.Decode(answer); err != nil {
		return fmt.Errorf("%s gave no answer: %w", p.name, err)
	}
	return nil
}
