package nft

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/fairlead-net/fairlead/internal/desired"
)

// flow is a connection that conntrack knows.
type flow struct {
	six bool
	// client and asked are source and destination of the first packet, answers
	// and answered those of replies; untranslated, they are the same turned round.
	client, asked, answers, answered netip.AddrPort
	// state is that of a TCP connection, TCP_CONNTRACK_*, if the kernel tells.
	state uint8
	// name tells the kernel which connection is meant.
	name attributes
}

// Attributes of conntrack (CTA_*).
const (
	ctOriginal      = 1
	ctReply         = 2
	ctStatus        = 3
	ctProtocolInfo  = 4
	ctInfoTCP       = 1 // CTA_PROTOINFO_TCP
	ctStateTCP      = 1 // CTA_PROTOINFO_TCP_STATE
	ctID            = 12
	ctZone          = 18
	ctFilter        = 25
	ctFilterOrig    = 1      // CTA_FILTER_ORIG_FLAGS
	ctFilterNumber  = 1 << 3 // CTA_FILTER_F_CTA_PROTO_NUM
	ctStatusMask    = 26
	ctTupleIP       = 1
	ctTupleProtocol = 2
	ctGet           = 1 // IPCTNL_MSG_CT_GET
	ctDelete        = 2
)

func conntrackRequest(kind, flags uint16, six bool, write func(*attributes)) *messages {
	family := uint8(unix.AF_INET)
	if six {
		family = unix.AF_INET6
	}
	m := &messages{}
	m.begin(unix.NFNL_SUBSYS_CTNETLINK<<8|kind, flags, family, 0)
	var a attributes
	write(&a)
	m.end(a)
	return m
}

// flows lists those connections of one protocol that which says, without keeping
// the others, of which there may be a million. The kernel leaves out other protocols
// and, from Linux 5.15 on, what does not have all bits of status (IPS_*). which may
// be asked about a connection more than once.
func (s *socket) flows(six bool, protocol desired.Protocol, status uint32, which func(flow) bool) ([]flow, error) {
	m := conntrackRequest(ctGet, unix.NLM_F_DUMP, six, func(a *attributes) {
		a.nested(ctOriginal, func(a *attributes) {
			a.nested(ctTupleProtocol, func(a *attributes) { a.bytes(1, []byte{byte(protocol)}) })
		})
		a.nested(ctFilter, func(a *attributes) {
			a.bytes(ctFilterOrig, binary.NativeEndian.AppendUint32(nil, ctFilterNumber))
		})
		if status != 0 {
			a.u32(ctStatus, status)
			a.u32(ctStatusMask, status)
		}
	})
	var all []flow
	err := s.dump(m, func() { all = nil }, func(data []byte) {
		original, reply := find(data, ctOriginal), find(data, ctReply)
		if number := find(original, ctTupleProtocol, 1); len(number) != 1 || number[0] != byte(protocol) {
			return
		}
		f := flow{six: six}
		f.client, f.asked = endsOf(original, six)
		f.answers, f.answered = endsOf(reply, six)
		if state := find(data, ctProtocolInfo, ctInfoTCP, ctStateTCP); protocol == desired.TCP && len(state) == 1 {
			f.state = state[0]
		}
		if !which(f) {
			return
		}
		f.name.bytes(ctOriginal|unix.NLA_F_NESTED, original)
		for _, kind := range []uint16{ctID, ctZone} {
			if value := find(data, kind); value != nil {
				f.name.bytes(kind, value)
			}
		}
		all = append(all, f)
	})
	if err != nil && !errors.Is(err, errInterrupted) {
		return nil, fmt.Errorf("listing connections of conntrack: %w", err)
	}
	return all, nil
}

// endsOf returns source and destination of a tuple.
func endsOf(tuple []byte, six bool) (source, destination netip.AddrPort) {
	first := uint16(1) // CTA_IP_V4_SRC
	if six {
		first = 3 // CTA_IP_V6_SRC
	}
	end := func(i uint16) netip.AddrPort {
		address, _ := netip.AddrFromSlice(find(tuple, ctTupleIP, first+i))
		port := find(tuple, ctTupleProtocol, 2+i)
		if len(port) != 2 {
			return netip.AddrPort{}
		}
		return netip.AddrPortFrom(address, binary.BigEndian.Uint16(port))
	}
	return end(0), end(1)
}

// forgetFlow makes conntrack forget one connection; it may be gone already.
func (s *socket) forgetFlow(f flow) error {
	m := conntrackRequest(ctDelete, unix.NLM_F_ACK, f.six, func(a *attributes) { *a = slices.Clone(f.name) })
	if err := s.query(m, func([]byte) {}); err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("making conntrack forget %s to %s: %w", f.client, f.asked, err)
	}
	return nil
}
