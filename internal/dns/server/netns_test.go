package server

import (
	"net/netip"
	"runtime"
	"testing"
	"time"

	wire "github.com/miekg/dns"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// TestSourceAddress asks a server on [::] at every one of several addresses of
// both families in a network namespace, and expects the replies to leave from
// where the queries went to. The client's sockets are connected, so that the
// kernel drops replies from elsewhere. It needs root.
func TestSourceAddress(t *testing.T) {
	runtime.LockOSThread() // and never unlock it: the thread ends with the test
	if _, err := netns.New(); err != nil {
		t.Fatalf("network namespaces need root: %v", err)
	}
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		t.Fatal(err)
	}
	addresses := []string{"10.9.0.1/32", "10.9.0.2/32", "10.9.0.3/32", "fd00:9::1/128", "fd00:9::2/128", "fd00:9::3/128"}
	for _, text := range addresses {
		address, err := netlink.ParseAddr(text)
		if err != nil {
			t.Fatal(err)
		}
		if address.IP.To4() == nil {
			// Otherwise the address may not be used as a source for a moment.
			address.Flags = unix.IFA_F_NODAD
		}
		if err := netlink.AddrAdd(lo, address); err != nil {
			t.Fatal(err)
		}
	}
	_, at := start(t, Config{Listen: []netip.AddrPort{netip.MustParseAddrPort("[::]:53")}}, cluster(t, 0))
	client := wire.Client{Timeout: time.Second}
	for _, text := range addresses {
		to := netip.AddrPortFrom(netip.MustParsePrefix(text).Addr(), at.Port())
		// The kernel installs the routes of IPv6 addresses a moment after it has
		// accepted them; until then packets get lost.
		for try := 1; ; try++ {
			reply, _, err := client.Exchange(query("web.shop.svc.cluster.local.", wire.TypeA), to.String())
			if err == nil {
				expect(t, reply, wire.RcodeSuccess, "10.96.0.1")
				break
			} else if try == 5 {
				t.Fatalf("%s: %v", to, err)
			}
		}
		expect(t, ask(t, "tcp", to, query("web.shop.svc.cluster.local.", wire.TypeA)), wire.RcodeSuccess, "10.96.0.1")
	}
}
