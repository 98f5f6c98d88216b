package ebpf

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/lb"
)

// services is a Table whose backends all answer with their own address.
func services() map[lb.Frontend]*lb.Entry {
	return map[lb.Frontend]*lb.Entry{
		frontend("10.96.0.1:80", desired.TCP):   {Backends: addrPorts("127.0.1.1:8080", "127.0.1.2:8080")},
		frontend("10.96.0.1:443", desired.TCP):  {Backends: addrPorts("127.0.1.1:8443")},
		frontend("10.96.0.1:80", desired.UDP):   {Backends: addrPorts("127.0.1.3:8080", "127.0.1.4:8080")},
		frontend("10.96.0.2:53", desired.UDP):   {Backends: addrPorts("127.0.1.5:5353")},
		frontend("[fd96::1]:80", desired.TCP):   {Backends: addrPorts("[fd00::1]:8080", "[fd00::2]:8080")},
		frontend("[fd96::1]:80", desired.UDP):   {Backends: addrPorts("[fd00::3]:8080", "[fd00::4]:8080")},
		frontend("10.96.0.9:80", desired.TCP):   {},
		frontend("10.96.0.9:80", desired.UDP):   {},
		frontend("[fd96::9]:80", desired.TCP):   {},
		frontend("10.96.0.8:80", desired.TCP):   {Drop: true},
		frontend("10.96.0.1:80", desired.SCTP):  {Backends: addrPorts("127.0.1.1:8080")},
		frontend("10.96.0.7:9999", desired.TCP): {Backends: addrPorts("127.0.1.1:9")}, // nobody listens
	}
}

func (w *world) serveAll(entries map[lb.Frontend]*lb.Entry) {
	w.t.Helper()
	served := map[lb.Frontend]bool{}
	for f, e := range entries {
		for _, backend := range e.Backends {
			b := lb.Frontend{Address: backend.Addr(), Port: backend.Port(), Protocol: f.Protocol}
			if f.Protocol != desired.SCTP && backend.Port() != 9 && !served[b] {
				w.serve(f.Protocol, backend)
				served[b] = true
			}
		}
	}
}

// TestConnect reaches Services from sockets of every kind and expects the right
// backends to answer, all of them, under the Service's address.
func TestConnect(t *testing.T) {
	w := newWorld(t)
	entries := services()
	w.serveAll(entries)
	w.apply(w.plane(), table(entries))
	tests := []struct {
		name string
		request
	}{
		{"TCP", request{Do: "connect", To: netip.MustParseAddrPort("10.96.0.1:80")}},
		{"TCP, another port", request{Do: "connect", To: netip.MustParseAddrPort("10.96.0.1:443")}},
		{"TCP, IPv6", request{Do: "connect", IPv6: true, To: netip.MustParseAddrPort("[fd96::1]:80")}},
		{"TCP, mapped", request{Do: "connect", IPv6: true, To: netip.MustParseAddrPort("10.96.0.1:80")}},
		{"UDP", request{Do: "connect", UDP: true, To: netip.MustParseAddrPort("10.96.0.1:80")}},
		{"UDP, IPv6", request{Do: "connect", UDP: true, IPv6: true, To: netip.MustParseAddrPort("[fd96::1]:80")}},
		{"UDP, mapped", request{Do: "connect", UDP: true, IPv6: true, To: netip.MustParseAddrPort("10.96.0.1:80")}},
		{"datagram", request{Do: "send", UDP: true, To: netip.MustParseAddrPort("10.96.0.1:80")}},
		{"datagram, IPv6", request{Do: "send", UDP: true, IPv6: true, To: netip.MustParseAddrPort("[fd96::1]:80")}},
		{"datagram, mapped", request{Do: "send", UDP: true, IPv6: true, To: netip.MustParseAddrPort("10.96.0.1:80")}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			protocol := desired.TCP
			if test.UDP {
				protocol = desired.UDP
			}
			backends := entries[lb.Frontend{Address: test.To.Addr(), Port: test.To.Port(), Protocol: protocol}].Backends
			seen := map[string]bool{}
			for range 60 {
				a := w.do(test.request)
				if a.Errno != 0 || a.Peer != test.To {
					t.Fatalf("answer %+v, want one from %s", a, test.To)
				}
				if backend, err := netip.ParseAddrPort(a.Text); err != nil || !slices.Contains(backends, backend) {
					t.Fatalf("%q answered, want one of %v", a.Text, backends)
				}
				seen[a.Text] = true
				w.do(request{Do: "close"})
			}
			if len(seen) != len(backends) {
				t.Errorf("only %v of %v were ever chosen", seen, backends)
			}
		})
	}
}

// TestMultipath connects an MPTCP socket. Its connection is that of a TCP socket
// inside, which the socket the application holds does not show: the peer is
// seen as what it is.
func TestMultipath(t *testing.T) {
	w := newWorld(t)
	entries := services()
	w.serveAll(entries)
	w.apply(w.plane(), table(entries))
	a := w.do(request{Do: "connect", MPTCP: true, To: netip.MustParseAddrPort("10.96.0.1:443")})
	if a.Errno != 0 || a.Text != "127.0.1.1:8443" {
		t.Fatalf("answer %+v, want one from 127.0.1.1:8443", a)
	}
}

// TestRefuse expects an error at once from Services without endpoints, and no
// interference with addresses that are no Services.
func TestRefuse(t *testing.T) {
	w := newWorld(t)
	entries := services()
	w.serve(desired.TCP, addrPorts("127.0.2.1:7000")...)
	w.apply(w.plane(), table(entries))
	tests := []struct {
		name string
		request
		want unix.Errno
	}{
		{"TCP", request{Do: "connect", To: netip.MustParseAddrPort("10.96.0.9:80")}, unix.ECONNREFUSED},
		{"TCP, IPv6", request{Do: "connect", IPv6: true, To: netip.MustParseAddrPort("[fd96::9]:80")}, unix.ECONNREFUSED},
		{"TCP, mapped", request{Do: "connect", IPv6: true, To: netip.MustParseAddrPort("10.96.0.9:80")}, unix.ECONNREFUSED},
		{"UDP", request{Do: "connect", UDP: true, To: netip.MustParseAddrPort("10.96.0.9:80")}, unix.ECONNREFUSED},
		{"datagram", request{Do: "send", UDP: true, To: netip.MustParseAddrPort("10.96.0.9:80")}, unix.ECONNREFUSED},
		{"drop", request{Do: "connect", To: netip.MustParseAddrPort("10.96.0.8:80")}, unix.EPERM},
		{"backend does not listen", request{Do: "connect", To: netip.MustParseAddrPort("10.96.0.7:9999")}, unix.ECONNREFUSED},
		{"no Service, no route", request{Do: "connect", To: netip.MustParseAddrPort("10.96.0.1:81")}, unix.ENETUNREACH},
		{"no Service", request{Do: "connect", To: netip.MustParseAddrPort("127.0.2.1:7000")}, 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			a := w.do(test.request)
			if a.Errno != test.want || a.Took > time.Second {
				t.Errorf("%v after %s, want %v at once", a.Errno, a.Took, test.want)
			}
			w.do(request{Do: "close"})
		})
	}
}

// TestRefuseWithoutErrno runs the programs as a kernel before Linux 6.1 gets
// them, and expects a refusal to be at least an error at once.
func TestRefuseWithoutErrno(t *testing.T) {
	w := newWorld(t)
	p := w.plane()
	spec, err := specs(nil, p.config.Netns)
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range hooks {
		old, err := loadProgram(spec, h.name, p.maps)
		if err != nil {
			t.Fatal(err)
		}
		p.programs[h.name].Close()
		p.programs[h.name] = old
	}
	w.apply(p, table(services()))
	for _, r := range []request{{Do: "connect"}, {Do: "connect", UDP: true}, {Do: "send", UDP: true}} {
		r.To = netip.MustParseAddrPort("10.96.0.9:80")
		if a := w.do(r); a.Errno != unix.EPERM || a.Took > time.Second {
			t.Errorf("%+v: %v after %s, want %v at once", r, a.Errno, a.Took, unix.EPERM)
		}
		w.do(request{Do: "close"})
	}
}

// TestUnconnected sends from one socket to several Services and plain addresses
// and expects each reply under the address that was asked.
func TestUnconnected(t *testing.T) {
	w := newWorld(t)
	entries := services()
	w.serveAll(entries)
	w.serve(desired.UDP, addrPorts("127.0.2.1:7000")...)
	p := w.plane()
	w.apply(p, table(entries))
	first := map[netip.AddrPort]string{}
	for range 10 {
		for _, to := range addrPorts("10.96.0.1:80", "10.96.0.2:53", "127.0.2.1:7000") {
			a := w.do(request{Do: "send", UDP: true, To: to})
			if a.Errno != 0 || a.Peer != to {
				t.Fatalf("answer %+v, want one from %s", a, to)
			}
			if first[to] == "" {
				first[to] = a.Text
			}
			if a.Text != first[to] {
				t.Fatalf("%s was answered by %s, before by %s: a socket must stay with its backend", to, a.Text, first[to])
			}
		}
		// More backends must not move the socket.
		e := *entries[frontend("10.96.0.1:80", desired.UDP)]
		e.Backends = append(addrPorts("127.0.1.1:1", "127.0.1.2:1")[:1+len(e.Backends)%2:2], e.Backends...)
		entries[frontend("10.96.0.1:80", desired.UDP)] = &e
		w.apply(p, table(entries))
	}
	// A backend that is gone is left at once.
	entries[frontend("10.96.0.1:80", desired.UDP)] = &lb.Entry{Backends: addrPorts("127.0.1.5:5353")}
	w.apply(p, table(entries))
	if a := w.do(request{Do: "send", UDP: true, To: netip.MustParseAddrPort("10.96.0.1:80")}); a.Text != "127.0.1.5:5353" {
		t.Errorf("answer %+v, want one from the only backend left", a)
	}
}

// TestReconnect connects a UDP socket to a Service and then elsewhere.
func TestReconnect(t *testing.T) {
	w := newWorld(t)
	entries := services()
	w.serveAll(entries)
	w.apply(w.plane(), table(entries))
	for _, to := range addrPorts("10.96.0.2:53", "127.0.1.5:5353", "10.96.0.1:80") {
		if a := w.do(request{Do: "connect", UDP: true, To: to}); a.Errno != 0 || a.Peer != to {
			t.Fatalf("answer %+v, want one from %s", a, to)
		}
	}
}

// TestUpdate changes a Service while connections are open.
func TestUpdate(t *testing.T) {
	w := newWorld(t)
	f, to := frontend("10.96.0.1:80", desired.TCP), netip.MustParseAddrPort("10.96.0.1:80")
	w.serve(desired.TCP, addrPorts("127.0.1.1:8080", "127.0.1.2:8080")...)
	p := w.plane()
	for i, want := range []string{"127.0.1.1:8080", "127.0.1.2:8080"} {
		w.apply(p, table(map[lb.Frontend]*lb.Entry{f: {Backends: addrPorts(want)}}))
		if a := w.do(request{Do: "connect", Socket: i, To: to}); a.Text != want {
			t.Fatalf("answer %+v, want %s", a, want)
		}
	}
	w.apply(p, table(nil))
	for i, want := range []string{"127.0.1.1:8080", "127.0.1.2:8080"} {
		if a := w.do(request{Do: "talk", Socket: i}); a.Text != want {
			t.Errorf("an open connection answers %+v, want %s", a, want)
		}
	}
	if a := w.do(request{Do: "connect", Socket: 9, To: to}); a.Errno != unix.ENETUNREACH {
		t.Errorf("answer %+v from a Service that is gone", a)
	}
	w.isEmpty(p)
}

// TestAffinity expects a client to stay with its backends for the timeout after
// its last connection, and to leave a backend that goes away.
func TestAffinity(t *testing.T) {
	w := newWorld(t)
	backends := addrPorts("127.0.1.1:80", "127.0.1.2:80", "127.0.1.3:80", "127.0.1.4:80", "127.0.1.5:80", "127.0.1.6:80")
	w.serve(desired.TCP, backends...)
	p := w.plane()
	const services = 8 // so many do not all choose alike twice by chance
	set := func(backends []netip.AddrPort, affinity time.Duration) {
		entries := map[lb.Frontend]*lb.Entry{}
		for i := range services {
			f := frontend("10.96.0.1:80", desired.TCP)
			f.Port += uint16(i)
			entries[f] = &lb.Entry{Backends: backends, Affinity: affinity}
		}
		w.apply(p, table(entries))
	}
	ask := func() (chosen [services]string) {
		for i := range chosen {
			to := netip.AddrPortFrom(netip.MustParseAddr("10.96.0.1"), uint16(80+i))
			a := w.do(request{Do: "connect", To: to})
			if a.Errno != 0 {
				t.Fatalf("answer %+v", a)
			}
			chosen[i] = a.Text
			w.do(request{Do: "close"})
		}
		return chosen
	}
	set(backends, 2*time.Second)
	first := ask()
	for range 6 { // 3 s: longer than the timeout, which each use starts anew
		time.Sleep(500 * time.Millisecond)
		if got := ask(); got != first {
			t.Fatalf("went from %v to %v within the timeout", first, got)
		}
	}
	set(slices.DeleteFunc(slices.Clone(backends), func(b netip.AddrPort) bool { return b.String() == first[0] }), time.Second)
	second := ask()
	for i := range second {
		if second[i] == first[0] || second[i] != first[i] && first[i] != first[0] {
			t.Fatalf("went from %v to %v when %s was removed", first, second, first[0])
		}
	}
	time.Sleep(1100 * time.Millisecond)
	if third := ask(); third == second {
		t.Errorf("still with %v after the timeout", third)
	}
}

// isEmpty expects maps without any Service.
func (w *world) isEmpty(p *Plane) {
	w.t.Helper()
	for _, name := range []string{socketMapFrontends, socketMapBackends, socketMapMembers} {
		if n := count(w.t, p, name); n != 0 {
			w.t.Errorf("map %s has %d entries, want none", name, n)
		}
	}
}
