package bgp

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"
)

const (
	solicitation  = 133 // RFC 4861, section 4.1
	advertisement = 134 // section 4.2
	// advertising is how often routers that have no addresses of their own tell each
	// other of themselves.
	advertising = 10 * time.Second
	// forgotten is when a router that is not heard any more is no more.
	forgotten = 3*advertising + time.Second
	// answering lies at least between answers to those who ask for routers (RFC 4861,
	// section 6.2.6), as they go to everybody on the link.
	answering = 3 * time.Second
	// maxHeard bounds what a network can make this node remember.
	maxHeard = 8
)

// neighbourhood finds the one router on a link without addresses: both ends send
// router advertisements, as FRR and others have it for sessions by interface. Those of
// this node say that it is no default router (a lifetime of 0).
type neighbourhood struct {
	name    string
	index   int
	mac     net.HardwareAddr
	conn    *ipv6.PacketConn
	stop    context.CancelFunc
	stopped sync.WaitGroup
	changed func()

	mu     sync.Mutex
	heard  map[netip.Addr]time.Time
	chosen netip.Addr

	answered time.Time // of listen alone
}

// explore begins to look for the router at an interface.
func explore(name string, log *slog.Logger, changed func()) (*neighbourhood, error) {
	mac, index, err := hardwareAddress(name)
	if err != nil {
		return nil, err
	}
	config := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		var failed error
		err := raw.Control(func(fd uintptr) { failed = unix.BindToDevice(int(fd), name) })
		return errors.Join(err, failed)
	}}
	packets, err := config.ListenPacket(context.Background(), "ip6:ipv6-icmp", "::")
	if err != nil {
		return nil, fmt.Errorf("look for the router at interface %s: %w", name, err)
	}
	n := &neighbourhood{name: name, index: index, mac: mac, conn: ipv6.NewPacketConn(packets), changed: changed, heard: map[netip.Addr]time.Time{}}
	if err := n.prepare(); err != nil {
		return nil, errors.Join(fmt.Errorf("look for the router at interface %s: %w", name, err), n.conn.Close())
	}
	ctx, cancel := context.WithCancel(context.Background())
	n.stop = cancel
	n.stopped.Go(func() { n.advertise(ctx, log) })
	n.stopped.Go(func() { n.listen(ctx) })
	return n, nil
}

func (n *neighbourhood) prepare() error {
	link := &net.Interface{Index: n.index, Name: n.name}
	var filter ipv6.ICMPFilter
	filter.SetAll(true)
	filter.Accept(ipv6.ICMPTypeRouterSolicitation)
	filter.Accept(ipv6.ICMPTypeRouterAdvertisement)
	return errors.Join(
		n.conn.SetICMPFilter(&filter), n.conn.SetControlMessage(ipv6.FlagHopLimit|ipv6.FlagInterface, true),
		n.conn.JoinGroup(link, &net.IPAddr{IP: net.ParseIP("ff02::2")}), n.conn.SetMulticastInterface(link),
		n.conn.SetMulticastHopLimit(255), n.conn.SetHopLimit(255), n.conn.SetMulticastLoopback(false),
	)
}

// advertise tells the router of this node, and asks it for itself, until ctx ends.
func (n *neighbourhood) advertise(ctx context.Context, log *slog.Logger) {
	everybody := &net.IPAddr{IP: net.ParseIP("ff02::1"), Zone: n.name}
	routers := &net.IPAddr{IP: net.ParseIP("ff02::2"), Zone: n.name}
	ticker := time.NewTicker(advertising)
	defer ticker.Stop()
	for {
		_, err := n.conn.WriteTo(routerAdvertisement(n.mac), nil, everybody)
		if n.router(time.Now()) == (netip.Addr{}) {
			_, asked := n.conn.WriteTo(appendSolicitation(nil, n.mac), nil, routers)
			err = errors.Join(err, asked)
		}
		if err != nil {
			log.Debug("cannot send router advertisements", "interface", n.name, "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// listen takes in what routers say, until ctx ends.
func (n *neighbourhood) listen(ctx context.Context) {
	b := make([]byte, 1500)
	for {
		length, control, from, err := n.conn.ReadFrom(b)
		if ctx.Err() != nil || errors.Is(err, os.ErrClosed) || errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil || control == nil {
			select { // whatever it is, it must not keep a processor busy
			case <-ctx.Done():
				return
			case <-time.After(time.Second):
			}
			continue
		}
		sender, ok := netip.AddrFromSlice(from.(*net.IPAddr).IP)
		if !ok || control.IfIndex != n.index || !trusted(b[:length], control.HopLimit, sender) {
			continue
		}
		if b[0] == solicitation {
			if !n.answers(time.Now()) {
				continue
			}
			_, _ = n.conn.WriteTo(routerAdvertisement(n.mac), nil, &net.IPAddr{IP: net.ParseIP("ff02::1"), Zone: n.name})
			continue
		}
		n.hear(time.Now(), sender)
	}
}

// answers tells whether one who asks for routers gets an answer now.
func (n *neighbourhood) answers(now time.Time) bool {
	if now.Sub(n.answered) < answering {
		return false
	}
	n.answered = now
	return true
}

// trusted tells whether a message is one of a machine on the same link (RFC 4861,
// sections 6.1.1 and 6.1.2).
func trusted(b []byte, hopLimit int, sender netip.Addr) bool {
	if hopLimit != 255 || len(b) < 8 || b[1] != 0 {
		return false
	}
	if b[0] == solicitation {
		return true
	}
	return b[0] == advertisement && len(b) >= 16 && sender.IsLinkLocalUnicast()
}

func (n *neighbourhood) hear(now time.Time, router netip.Addr) {
	before := n.router(now)
	n.mu.Lock()
	if _, known := n.heard[router]; known || len(n.heard) < maxHeard {
		n.heard[router] = now
	}
	n.mu.Unlock()
	if n.router(now) != before {
		n.changed()
	}
}

// router returns the router's address without a zone, not valid if there is none. Of
// several, which is a mistake, the one that was there first stays for as long as it is
// heard.
func (n *neighbourhood) router(now time.Time) netip.Addr {
	n.mu.Lock()
	defer n.mu.Unlock()
	for a, at := range n.heard {
		if now.Sub(at) > forgotten {
			delete(n.heard, a)
		}
	}
	if _, still := n.heard[n.chosen]; still {
		return n.chosen
	}
	n.chosen = netip.Addr{}
	for a := range n.heard {
		if !n.chosen.IsValid() || a.Less(n.chosen) {
			n.chosen = a
		}
	}
	return n.chosen
}

// several tells whether more than one router has been heard.
func (n *neighbourhood) several() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.heard) > 1
}

// there tells whether the interface is still the one that it was: one that takes its
// name is heard by another socket only.
func (n *neighbourhood) there() bool {
	_, index, err := hardwareAddress(n.name)
	return err == nil && index == n.index
}

func (n *neighbourhood) close() {
	n.stop()
	_ = n.conn.Close()
	n.stopped.Wait()
}

// routerAdvertisement returns a router advertisement with a lifetime of 0; the kernel
// adds the checksum.
func routerAdvertisement(mac net.HardwareAddr) []byte {
	b := []byte{advertisement, 0, 0, 0, 64, 0}
	b = binary.BigEndian.AppendUint16(b, 0)
	b = append(b, 0, 0, 0, 0, 0, 0, 0, 0)
	return appendSource(b, mac)
}

func appendSolicitation(b []byte, mac net.HardwareAddr) []byte {
	return appendSource(append(b, solicitation, 0, 0, 0, 0, 0, 0, 0), mac)
}

// appendSource writes the source link-layer address option (RFC 4861, section 4.6.1).
func appendSource(b []byte, mac net.HardwareAddr) []byte {
	if len(mac) != 6 {
		return b
	}
	return append(append(b, 1, 1), mac...)
}
