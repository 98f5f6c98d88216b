package ebpf

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/lb"
)

// releasing is a plane that finds the world's network namespace as that of a pod.
func (w *world) releasing() *Plane {
	w.t.Helper()
	config := w.config()
	config.NetnsDirectory = w.t.TempDir()
	pod := filepath.Join(config.NetnsDirectory, "cni-1")
	for _, path := range []string{pod, pod + "-leftover"} {
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			w.t.Fatal(err)
		}
	}
	w.within(func() error { return unix.Mount("/proc/thread-self/ns/net", pod, "", unix.MS_BIND, "") })
	w.t.Cleanup(func() { unix.Unmount(pod, unix.MNT_DETACH) })
	return w.planeOf(config)
}

// talk sends over a connected socket.
func (w *world) talk(socket int) answer {
	w.t.Helper()
	return w.do(request{Do: "talk", Socket: socket})
}

// becomes repeats until a socket answers as wanted. A round of the plane ends
// soon after Apply, not with it.
func (w *world) becomes(socket int, text string, errno unix.Errno) {
	w.t.Helper()
	var a answer
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if a = w.talk(socket); a.Errno == errno && a.Text == text {
			return
		}
	}
	w.t.Fatalf("socket %d: answer %+v, want %q, %v", socket, a, text, errno)
}

// TestRelease connects UDP sockets and takes their backends away: those sockets
// end, and no others.
func TestRelease(t *testing.T) {
	w := newWorld(t)
	p := w.releasing()
	for _, note := range p.Describe() {
		if strings.HasPrefix(note, "a UDP socket") {
			t.Fatal(note)
		}
	}
	gone4, stays4, gone6 := addrPorts("127.0.1.1:80")[0], addrPorts("127.0.1.2:80")[0], addrPorts("[fd00::1]:80")[0]
	w.serve(desired.UDP, gone4, stays4, gone6)
	service := func(address string) lb.Frontend { return frontend(address, desired.UDP) }
	entries := map[lb.Frontend]*lb.Entry{
		service("10.96.0.1:80"):   {Backends: []netip.AddrPort{gone4}},
		service("10.96.0.2:80"):   {Backends: []netip.AddrPort{stays4}},
		service("10.96.0.3:80"):   {Backends: []netip.AddrPort{gone4}},
		service("[fd96::1]:80"):   {Backends: []netip.AddrPort{gone6}},
		service("0.0.0.0:30080"):  {Backends: []netip.AddrPort{gone4}},
		service("0.0.0.0:30081"):  {Backends: []netip.AddrPort{stays4}},
		service("10.96.0.10:800"): {Backends: []netip.AddrPort{gone4}},
	}
	want := table(entries)
	want.NodeAddresses = []netip.Addr{netip.MustParseAddr("192.0.2.7")}
	w.apply(p, want)
	for socket, c := range []struct {
		request
		to string
	}{
		{to: "10.96.0.1:80"},
		{to: "10.96.0.2:80"},
		{to: "10.96.0.3:80"},
		{to: "[fd96::1]:80", request: request{IPv6: true}},
		{to: "10.96.0.1:80", request: request{IPv6: true}}, // mapped
		{to: "192.0.2.7:30080"},
		{to: "192.0.2.7:30081"},
		{to: "127.0.1.1:80"}, // no Service
	} {
		c.Do, c.UDP, c.Socket, c.To = "connect", true, socket, netip.MustParseAddrPort(c.to)
		if a := w.do(c.request); a.Errno != 0 || a.Text == "" {
			t.Fatalf("%s: %+v", c.to, a)
		}
	}
	entries[service("10.96.0.1:80")] = &lb.Entry{Backends: []netip.AddrPort{stays4}}
	entries[service("[fd96::1]:80")] = &lb.Entry{}
	delete(entries, service("0.0.0.0:30080"))
	again := table(entries)
	again.NodeAddresses = want.NodeAddresses
	w.apply(p, again)
	for _, socket := range []int{0, 3, 4, 5} {
		// The first use tells of the end; after it the socket is connected to nobody.
		w.becomes(socket, "", unix.EDESTADDRREQ)
	}
	for socket, text := range map[int]string{1: stays4.String(), 2: gone4.String(), 6: stays4.String(), 7: gone4.String()} {
		if a := w.talk(socket); a.Errno != 0 || a.Text != text {
			t.Errorf("socket %d, which has its backend still: %+v", socket, a)
		}
	}
	if problem := p.released.Load(); problem == nil || *problem != "" {
		t.Errorf("released: %v", problem)
	}
}

// TestReleaseAfterRestart takes a backend away while no process runs.
func TestReleaseAfterRestart(t *testing.T) {
	w := newWorld(t)
	p := w.releasing()
	w.serve(desired.UDP, addrPorts("127.0.1.1:80", "127.0.1.2:80")...)
	f := frontend("10.96.0.1:80", desired.UDP)
	w.apply(p, table(map[lb.Frontend]*lb.Entry{f: {Backends: addrPorts("127.0.1.1:80")}}))
	if a := w.do(request{Do: "connect", UDP: true, To: netip.MustParseAddrPort("10.96.0.1:80")}); a.Errno != 0 {
		t.Fatalf("%+v", a)
	}
	config := p.config
	p.Close()
	p = w.planeOf(config)
	w.apply(p, table(map[lb.Frontend]*lb.Entry{f: {Backends: addrPorts("127.0.1.2:80")}}))
	w.becomes(0, "", unix.EDESTADDRREQ)
}

// TestReleaseNowhere expects a directory that is not there to be a note, and
// nothing else to fail.
func TestReleaseNowhere(t *testing.T) {
	w := newWorld(t)
	config := w.config()
	config.NetnsDirectory = filepath.Join(t.TempDir(), "missing")
	p := w.planeOf(config)
	f := frontend("10.96.0.1:80", desired.UDP)
	w.apply(p, table(map[lb.Frontend]*lb.Entry{f: {Backends: addrPorts("127.0.1.1:80")}}))
	w.apply(p, table(map[lb.Frontend]*lb.Entry{f: {Backends: addrPorts("127.0.1.2:80")}}))
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if problem := p.released.Load(); problem != nil {
			if !strings.Contains(*problem, config.NetnsDirectory) {
				t.Errorf("problem %q", *problem)
			}
			return
		}
	}
	t.Error(errors.New("no problem reported"))
}
