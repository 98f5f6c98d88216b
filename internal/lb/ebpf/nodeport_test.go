package ebpf

import (
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/lb"
)

// nodeWorld is a world whose network namespace is the node's, with NodePorts.
func nodeWorld(t *testing.T) (*world, *Plane) {
	w := newWorld(t)
	config := w.config()
	w.within(func() (err error) {
		config.Netns, err = netnsCookie()
		return err
	})
	w.serve(desired.TCP, addrPorts("127.0.1.1:8080", "[fd00::1]:8080")...)
	w.serve(desired.UDP, addrPorts("127.0.1.1:8080", "[fd00::1]:8080")...)
	p := w.planeOf(config)
	want := table(map[lb.Frontend]*lb.Entry{
		frontend("0.0.0.0:30080", desired.TCP): {Backends: addrPorts("127.0.1.1:8080")},
		frontend("[::]:30080", desired.TCP):    {Backends: addrPorts("[fd00::1]:8080")},
		frontend("0.0.0.0:30080", desired.UDP): {Backends: addrPorts("127.0.1.1:8080")},
		frontend("[::]:30081", desired.TCP):    {Backends: addrPorts("[fd00::1]:8080")},
	})
	want.NodeAddresses = []netip.Addr{netip.MustParseAddr("192.0.2.7"), netip.MustParseAddr("2001:db8::7")}
	w.apply(p, want)
	return w, p
}

// TestNodePort connects to NodePorts at the node's addresses and, as a program
// of the node may, at loopback addresses of both families.
func TestNodePort(t *testing.T) {
	w, p := nodeWorld(t)
	check := func(to, want string, r request, errno unix.Errno) {
		t.Helper()
		r.Do, r.To = "connect", netip.MustParseAddrPort(to)
		a := w.do(r)
		if a.Errno != errno || a.Text != want {
			t.Errorf("%s: answer %+v, want %q, %v", to, a, want, errno)
		}
		if want != "" && a.Peer != r.To {
			t.Errorf("%s: the peer is %s", to, a.Peer)
		}
		w.do(request{Do: "close"})
	}
	for _, address := range []string{"192.0.2.7", "127.0.0.1", "127.9.9.9"} {
		check(address+":30080", "127.0.1.1:8080", request{}, 0)
		check(address+":30080", "127.0.1.1:8080", request{IPv6: true}, 0)
		check(address+":30080", "127.0.1.1:8080", request{UDP: true}, 0)
	}
	for _, address := range []string{"[2001:db8::7]", "[::1]"} {
		check(address+":30080", "[fd00::1]:8080", request{IPv6: true}, 0)
	}
	check("127.0.0.1:30081", "", request{}, unix.ECONNREFUSED)
	check("192.0.2.8:30080", "", request{}, unix.ENETUNREACH)
	// In any other network namespace loopback is a pod's own.
	p.Close()
	config := w.config()
	config.Netns = 1
	pod := w.planeOf(config)
	want := table(nil)
	want.Entries, want.NodeAddresses = p.applied, []netip.Addr{netip.MustParseAddr("192.0.2.7")}
	w.apply(pod, want)
	check("127.0.0.1:30080", "", request{}, unix.ECONNREFUSED)
	check("192.0.2.7:30080", "127.0.1.1:8080", request{}, 0)
	check("[2001:db8::7]:30080", "", request{IPv6: true}, unix.ENETUNREACH)
}

// TestBindNodePort expects NodePorts to be nobody else's, and all other ports to
// be free.
func TestBindNodePort(t *testing.T) {
	w, _ := nodeWorld(t)
	for _, c := range []struct {
		to string
		request
		want unix.Errno
	}{
		{"0.0.0.0:30080", request{}, unix.EADDRINUSE},
		{"0.0.0.0:30080", request{UDP: true}, unix.EADDRINUSE},
		{"127.0.0.1:30080", request{}, unix.EADDRINUSE},
		{"[::]:30080", request{IPv6: true}, unix.EADDRINUSE},
		{"[::]:30081", request{IPv6: true}, unix.EADDRINUSE},
		{"[::1]:30081", request{IPv6: true}, unix.EADDRINUSE},
		{"[::]:30080", request{IPv6: true, UDP: true}, unix.EADDRINUSE}, // for its IPv4 half
		{"[::]:30082", request{IPv6: true}, 0},
		{"0.0.0.0:30081", request{}, 0},
		{"[fd00::2]:30080", request{IPv6: true}, 0}, // an address without NodePorts
		{"0.0.0.0:0", request{}, 0},
	} {
		c.Do, c.To = "bind", netip.MustParseAddrPort(c.to)
		if a := w.do(c.request); a.Errno != c.want {
			t.Errorf("bind to %s, UDP %t: %v %s, want %v", c.to, c.UDP, a.Errno, a.Text, c.want)
		}
		w.do(request{Do: "close"})
	}
}
