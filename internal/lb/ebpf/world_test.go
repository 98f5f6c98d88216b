package ebpf

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/lb"
	"github.com/fairlead-net/fairlead/internal/pmap"
)

// world is a cgroup, a network namespace with nothing but loopback, a bpffs,
// and a client process inside all of them.
type world struct {
	t       testing.TB
	cgroup  string
	bpffs   string
	network netns.NsHandle
	client  *runner
}

func newWorld(t testing.TB) *world {
	t.Helper()
	root, err := FindCgroup("/")
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, bpffs: t.TempDir()}
	if w.cgroup, err = os.MkdirTemp(root, "fairlead-test-"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Remove(w.cgroup) })
	if err := unix.Mount("bpf", w.bpffs, "bpf", 0, ""); err != nil {
		t.Fatal("mounting a bpffs:", err)
	}
	t.Cleanup(func() { unix.Unmount(w.bpffs, unix.MNT_DETACH) })
	w.makeNetwork()
	w.client = w.startClient(w.cgroup)
	return w
}

// within runs do on a thread that is in the world's network namespace.
func (w *world) within(do func() error) {
	w.t.Helper()
	failed := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		err := netns.Set(w.network)
		if err == nil {
			err = do()
		}
		failed <- err
	}()
	if err := <-failed; err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) makeNetwork() {
	w.t.Helper()
	failed := make(chan error)
	go func() {
		runtime.LockOSThread()
		var err error
		w.network, err = netns.New()
		failed <- err
	}()
	if err := <-failed; err != nil {
		w.t.Fatal("making a network namespace:", err)
	}
	w.t.Cleanup(func() { w.network.Close() })
	w.within(func() error {
		loopback, err := netlink.LinkByName("lo")
		if err != nil {
			return err
		}
		for i := range 20 {
			address, err := netlink.ParseAddr(fmt.Sprintf("fd00::%x/128", i+1))
			if err != nil {
				return err
			}
			address.Flags = unix.IFA_F_NODAD
			if err := netlink.AddrAdd(loopback, address); err != nil {
				return err
			}
		}
		return netlink.LinkSetUp(loopback)
	})
}

// startClient starts a client process in a cgroup and the world's network.
func (w *world) startClient(cgroup string) *runner {
	w.t.Helper()
	directory, err := os.Open(cgroup)
	if err != nil {
		w.t.Fatal(err)
	}
	defer directory.Close()
	cmd := exec.Command(os.Args[0])
	// The client makes system calls that a signal would interrupt.
	cmd.Env = append(os.Environ(), roleVariable+"="+roleClient, "GODEBUG=asyncpreemptoff=1")
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &unix.SysProcAttr{UseCgroupFD: true, CgroupFD: int(directory.Fd())}
	in, err := cmd.StdinPipe()
	if err != nil {
		w.t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		w.t.Fatal(err)
	}
	w.within(cmd.Start)
	w.t.Cleanup(func() {
		in.Close()
		cmd.Wait()
	})
	return &runner{requests: json.NewEncoder(in), answers: json.NewDecoder(bufio.NewReader(out))}
}

// serve answers every line or datagram with the name of the backend.
func (w *world) serve(protocol desired.Protocol, backends ...netip.AddrPort) {
	w.t.Helper()
	w.within(func() error {
		for _, backend := range backends {
			if protocol == desired.TCP {
				listener, err := net.Listen("tcp", backend.String())
				if err != nil {
					return err
				}
				w.t.Cleanup(func() { listener.Close() })
				go serveTCP(listener, backend.String())
				continue
			}
			socket, err := net.ListenPacket("udp", backend.String())
			if err != nil {
				return err
			}
			w.t.Cleanup(func() { socket.Close() })
			go serveUDP(socket, backend.String())
		}
		return nil
	})
}

func serveTCP(listener net.Listener, name string) {
	for {
		connection, err := listener.Accept()
		if err != nil {
			return
		}
		go func() {
			defer connection.Close()
			for lines := bufio.NewScanner(connection); lines.Scan(); {
				fmt.Fprint(connection, name)
			}
		}()
	}
}

func serveUDP(socket net.PacketConn, name string) {
	buffer := make([]byte, 256)
	for {
		_, from, err := socket.ReadFrom(buffer)
		if err != nil {
			return
		}
		socket.WriteTo([]byte(name), from)
	}
}

func (w *world) config() Config {
	return Config{
		Cgroup:    w.cgroup,
		Directory: filepath.Join(w.bpffs, "fairlead"),
		Logger:    slog.New(slog.NewTextHandler(w.t.Output(), nil)),
	}
}

func (w *world) plane() *Plane {
	w.t.Helper()
	return w.planeOf(w.config())
}

func (w *world) planeOf(config Config) *Plane {
	w.t.Helper()
	p, err := New(config)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { p.Close() })
	return p
}

func (w *world) apply(p *Plane, want lb.Table) {
	w.t.Helper()
	if err := p.Apply(context.Background(), want); err != nil {
		w.t.Fatal(err)
	}
}

// do asks the client; a system call's error is in the answer.
func (w *world) do(r request) answer {
	w.t.Helper()
	a, err := w.client.do(r)
	if err != nil {
		w.t.Fatal("the client process is gone:", err)
	}
	return a
}

// table makes a synced Table.
func table(entries map[lb.Frontend]*lb.Entry) lb.Table {
	e := pmap.Map[lb.Frontend, *lb.Entry]{}.Edit()
	for f, entry := range entries {
		e.Set(f, entry)
	}
	return lb.Table{Revision: 1, Synced: true, Entries: e.Map()}
}

func frontend(address string, protocol desired.Protocol) lb.Frontend {
	a := netip.MustParseAddrPort(address)
	return lb.Frontend{Address: a.Addr(), Port: a.Port(), Protocol: protocol}
}

func addrPorts(addresses ...string) []netip.AddrPort {
	var list []netip.AddrPort
	for _, a := range addresses {
		list = append(list, netip.MustParseAddrPort(a))
	}
	return list
}
