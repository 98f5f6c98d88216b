package nft

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/fairlead-net/fairlead/internal/lb"
)

// Connections that began on another node, when an address has moved here: what
// conntrack does not know goes, as it is, to the node that still does. A copy of the
// packet is sent there, with a TTL that is one less, and the packet itself is
// dropped, so conntrack keeps knowing nothing of it: its next one is new again.
//
// The rules are in tables of their own, as no inet table can send copies. They are
// there only while something is passed on, and each element has a time to live.

// handoverTable is the name of those tables, of families ip and ip6, beside a table
// of the default name.
func handoverTable(table string) string { return table + "-handover" }

// priorityHandover is after conntrack has looked at a packet, and before DNAT.
const priorityHandover = priorityDNAT - 10

const (
	stateNew         = 1 << 3 // NF_CT_STATE_BIT(IP_CT_NEW)
	dupAddress       = 1      // NFTA_DUP_SREG_ADDR
	passedOnCounter  = "passed-on"
	passedOnMap      = "passings"
	tcpFlags, tcpSYN = 13, 2 // where they are, and one of them
)

// handover writes those tables. It waits for no Apply.
type handover struct {
	mu     sync.Mutex
	closed bool
	table  string
	socket *socket
	routes *netlink.Handle
}

func newHandover(table string) (*handover, error) {
	s, err := openSocket()
	if err != nil {
		return nil, err
	}
	routes, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		s.close()
		return nil, fmt.Errorf("opening a netlink socket: %w", err)
	}
	return &handover{table: handoverTable(table), socket: s, routes: routes}, nil
}

func (h *handover) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return
	}
	h.closed = true
	h.socket.close()
	h.routes.Close()
}

// Pass makes the kernel pass on exactly these; what an earlier process wrote ends.
// Those whose node is not on a network of this one are left out. It may be called at
// any time between New and Close; what is passed on then goes on until it expires.
func (p *Plane) Pass(want []lb.Passing) error {
	h := p.handover
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return os.ErrClosed
	}
	reached := map[netip.Addr]bool{}
	var families [2][]lb.Passing
	for _, one := range want {
		near, asked := reached[one.To]
		if !asked {
			near = h.near(one.To)
			reached[one.To] = near
		}
		if near && one.For >= time.Millisecond {
			families[familyIndex(one.Address)] = append(families[familyIndex(one.Address)], one)
		}
	}
	var failed []error
	for i, f := range p.layout.families {
		failed = append(failed, h.write(f, families[i]))
	}
	return errors.Join(failed...)
}

func familyIndex(a netip.Addr) int {
	if a.Is6() {
		return 1
	}
	return 0
}

// near tells whether a node is on a network of this one: a router on the way would
// send a packet where the address is now.
func (h *handover) near(node netip.Addr) bool {
	routes, err := h.routes.RouteGet(node.AsSlice())
	return err == nil && len(routes) > 0 && routes[0].Gw == nil && routes[0].Via == nil && routes[0].Type == unix.RTN_UNICAST
}

// write makes the table of a family say what is wanted, or removes it.
func (h *handover) write(f *family, want []lb.Passing) error {
	exists, err := h.socket.hasTable(f.number, h.table)
	if err != nil || !exists && len(want) == 0 {
		return err
	}
	t := newTransaction(&layout{table: h.table})
	t.family = f.number
	if exists && len(want) == 0 {
		t.deleteTable()
	} else {
		if !exists {
			t.addHandover(f)
		}
		t.clearSet(passedOnMap)
		t.passings(want)
	}
	if err := t.commit(h.socket, 0); err != nil {
		return fmt.Errorf("passing packets on to the node that knows their connections (needs CONFIG_NFT_DUP_IPV4 and CONFIG_NFT_DUP_IPV6, modules nft_dup_ipv4 and nft_dup_ipv6; without, connections end when an address moves): %w", err)
	}
	return nil
}

// passed is the map of an address to the node that packets are passed on to.
func passed(f *family) set {
	return set{name: passedOnMap, key: []field{f.address}, data: []field{f.address}, flags: unix.NFT_SET_TIMEOUT}
}

// addHandover writes the table of a family, with nobody to pass to.
func (t *transaction) addHandover(f *family) {
	t.newTable("TCP connections to addresses that have moved here")
	t.newSet(passed(f))
	t.newCounter(passedOnCounter)
	t.newChain("prerouting", &hook{"filter", unix.NF_INET_PRE_ROUTING, priorityHandover})
	tcp := rule{comment: "connections that began on another node"}
	tcp.meta(0, unix.NFT_META_L4PROTO)
	tcp.compare(0, unix.NFT_CMP_EQ, []byte{unix.IPPROTO_TCP})
	tcp.payload(0, unix.NFT_PAYLOAD_TRANSPORT_HEADER, tcpFlags, 1)
	tcp.mask([]byte{tcpSYN})
	tcp.compare(0, unix.NFT_CMP_EQ, []byte{0})
	tcp.passOn(f, stateInvalid|stateNew)
	t.newRule("prerouting", tcp)
	protocol, errors := byte(unix.IPPROTO_ICMP), [][2]byte{{3, 3}, {11, 12}} // RFC 792
	if f.is6() {
		protocol, errors = unix.IPPROTO_ICMPV6, [][2]byte{{1, 4}} // RFC 4443
	}
	for _, types := range errors {
		about := rule{comment: "errors about them"}
		about.meta(0, unix.NFT_META_L4PROTO)
		about.compare(0, unix.NFT_CMP_EQ, []byte{protocol})
		about.payload(0, unix.NFT_PAYLOAD_TRANSPORT_HEADER, 0, 1)
		about.compare(0, unix.NFT_CMP_GTE, types[:1])
		about.compare(0, unix.NFT_CMP_LTE, types[1:])
		about.passOn(f, stateInvalid)
		t.newRule("prerouting", about)
	}
}

// passOn ends a rule for packets in these states of conntrack.
func (r *rule) passOn(f *family, states uint32) {
	ttl := uint32(8)
	if f.is6() {
		ttl = 7
	}
	r.ct(0, unix.NFT_CT_STATE, false)
	r.mask(binary.NativeEndian.AppendUint32(nil, states))
	r.zero(0, unix.NFT_CMP_NEQ)
	// The kernel takes one off, and from 0 too.
	r.payload(0, unix.NFT_PAYLOAD_NETWORK_HEADER, ttl, 1)
	r.compare(0, unix.NFT_CMP_GT, []byte{1})
	r.load(0, f, f.destination)
	to := f.address.words()
	r.get(0, passed(f), to)
	r.count(passedOnCounter)
	r.expression("dup", func(a *attributes) { a.u32(dupAddress, register(to)) })
	r.drop()
}

// passings writes elements.
func (t *transaction) passings(want []lb.Passing) {
	var list attributes
	for _, one := range want {
		list.nested(unix.NFTA_LIST_ELEM, func(a *attributes) {
			a.value(unix.NFTA_SET_ELEM_KEY, one.Address.AsSlice())
			a.value(unix.NFTA_SET_ELEM_DATA, one.To.AsSlice())
			a.u64(unix.NFTA_SET_ELEM_TIMEOUT, uint64(one.For/time.Millisecond))
		})
		if len(list) > chunk {
			t.elements(unix.NFT_MSG_NEWSETELEM, passedOnMap, list, nil)
			list = nil
		}
	}
	if len(list) > 0 {
		t.elements(unix.NFT_MSG_NEWSETELEM, passedOnMap, list, nil)
	}
}

// hasTable tells whether there is a table of a family, NFPROTO_*.
func (s *socket) hasTable(family uint8, name string) (bool, error) {
	m := requestOf(family, unix.NFT_MSG_GETTABLE, unix.NLM_F_ACK, func(a *attributes) { a.string(unix.NFTA_TABLE_NAME, name) })
	err := s.query(m, func([]byte) {})
	if errors.Is(err, unix.ENOENT) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("reading about table %s: %w", name, err)
	}
	return true, nil
}

// removeHandover removes those tables of a namespace.
func removeHandover(s *socket, table string) error {
	var failed []error
	for _, family := range []uint8{unix.NFPROTO_IPV4, unix.NFPROTO_IPV6} {
		exists, err := s.hasTable(family, handoverTable(table))
		if err != nil || !exists {
			failed = append(failed, err)
			continue
		}
		t := newTransaction(&layout{table: handoverTable(table)})
		t.family = family
		t.deleteTable()
		if err := t.commit(s, 0); err != nil && !errors.Is(err, unix.ENOENT) {
			failed = append(failed, fmt.Errorf("deleting nftables table %s: %w", handoverTable(table), err))
		}
	}
	return errors.Join(failed...)
}
