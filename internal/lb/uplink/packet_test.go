package uplink

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"

	"github.com/fairlead-net/fairlead/internal/desired"
)

// TCP flags.
const (
	flagFIN = 0x01
	flagSYN = 0x02
	flagACK = 0x10
)

// packet is what tests write on the wire: addresses, and what follows the IP
// header.
type packet struct {
	from, to netip.AddrPort
	protocol desired.Protocol
	flags    byte   // of TCP
	options  []byte // of TCP
	data     []byte
}

// checksum is the Internet checksum (RFC 1071) of all parts together.
func checksum(parts ...[]byte) uint16 {
	sum := uint32(0)
	for _, part := range parts {
		for i := 0; i < len(part); i += 2 {
			word := uint32(part[i]) << 8
			if i+1 < len(part) {
				word |= uint32(part[i+1])
			}
			sum += word
		}
	}
	for sum > 0xffff {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}

// pseudo is the pseudo header that a transport's checksum covers.
func pseudo(from, to netip.Addr, protocol byte, length int) []byte {
	b := append(from.AsSlice(), to.AsSlice()...)
	b = binary.BigEndian.AppendUint32(b, uint32(length))
	return append(b, 0, 0, 0, protocol)
}

// segment returns the transport header and the data.
func (p packet) segment() []byte {
	var b []byte
	b = binary.BigEndian.AppendUint16(b, p.from.Port())
	b = binary.BigEndian.AppendUint16(b, p.to.Port())
	at := 6
	if p.protocol == desired.TCP {
		at = 16
		b = append(b, 0, 0, 0, 1, 0, 0, 0, 0, byte((20+len(p.options))/4<<4), p.flags, 0xff, 0xff, 0, 0, 0, 0)
		b = append(b, p.options...)
	} else {
		b = binary.BigEndian.AppendUint16(b, uint16(8+len(p.data)))
		b = append(b, 0, 0)
	}
	b = append(b, p.data...)
	binary.BigEndian.PutUint16(b[at:], checksum(pseudo(p.from.Addr(), p.to.Addr(), byte(p.protocol), len(b)), b))
	return b
}

// frame returns the Ethernet frame to a card.
func (p packet) frame(card []byte) []byte {
	b := append(append([]byte{}, card...), 2, 0, 0, 0, 0, 1)
	segment := p.segment()
	if p.from.Addr().Is6() {
		b = append(b, 0x86, 0xdd, 0x60, 0, 0, 0)
		b = binary.BigEndian.AppendUint16(b, uint16(len(segment)))
		b = append(b, byte(p.protocol), 64)
		b = append(append(b, p.from.Addr().AsSlice()...), p.to.Addr().AsSlice()...)
		return append(b, segment...)
	}
	b = append(b, 0x08, 0x00)
	ip := []byte{0x45, 0}
	ip = binary.BigEndian.AppendUint16(ip, uint16(20+len(segment)))
	ip = append(ip, 0, 1, 0, 0, 64, byte(p.protocol), 0, 0)
	ip = append(append(ip, p.from.Addr().AsSlice()...), p.to.Addr().AsSlice()...)
	binary.BigEndian.PutUint16(ip[10:], checksum(ip))
	return append(append(b, ip...), segment...)
}

// read takes a frame apart, and fails the test where a checksum is wrong.
func read(t testing.TB, frame []byte) packet {
	t.Helper()
	var p packet
	var from, to netip.Addr
	ip := frame[14:]
	header := 20
	if ip[0]>>4 == 6 {
		header = 40
		from, _ = netip.AddrFromSlice(ip[8:24])
		to, _ = netip.AddrFromSlice(ip[24:40])
		p.protocol = desired.Protocol(ip[6])
		ip = ip[:40+int(binary.BigEndian.Uint16(ip[4:]))]
	} else {
		from, _ = netip.AddrFromSlice(ip[12:16])
		to, _ = netip.AddrFromSlice(ip[16:20])
		p.protocol = desired.Protocol(ip[9])
		if checksum(ip[:20]) != 0 {
			t.Errorf("the IP header's checksum is wrong: %x", ip[:20])
		}
		ip = ip[:binary.BigEndian.Uint16(ip[2:])]
	}
	segment := ip[header:]
	if checksum(pseudo(from, to, byte(p.protocol), len(segment)), segment) != 0 {
		t.Errorf("the transport's checksum is wrong: %x", segment)
	}
	p.from = netip.AddrPortFrom(from, binary.BigEndian.Uint16(segment))
	p.to = netip.AddrPortFrom(to, binary.BigEndian.Uint16(segment[2:]))
	if p.protocol == desired.TCP {
		p.flags, p.options = segment[13], segment[20:segment[12]>>4*4]
	}
	return p
}

// skbContext is as much of struct __sk_buff as tests set.
type skbContext struct {
	_       [10]uint32
	Ifindex uint32
	_       [37]uint32
}

const (
	passes    = 0xffffffff // TC_ACT_UNSPEC
	drops     = 2          // TC_ACT_SHOT
	redirects = 7          // TC_ACT_REDIRECT
)

// bench sends frames to a program of node 1, as if they came by its uplink.
type bench struct {
	w       *world
	p       *Plane
	index   uint32
	card    []byte
	program string
}

func (w *world) bench(p *Plane) *bench {
	w.t.Helper()
	b := &bench{w: w, p: p, program: packetsProgUplinkIngress}
	w.in(w.nodes[1], func() error {
		l, err := netlink.LinkByName("uplink")
		if err == nil {
			b.index, b.card = uint32(l.Attrs().Index), l.Attrs().HardwareAddr
		}
		return err
	})
	return b
}

// run returns what becomes of a frame. It is called on a thread of the node.
func (b *bench) run(frame []byte, repeat uint32) (verdict uint32, out []byte, err error) {
	out = make([]byte, len(frame)+256)
	o := &ebpf.RunOptions{Data: frame, DataOut: out, Context: skbContext{Ifindex: b.index}, Repeat: repeat}
	verdict, err = b.p.programs[b.program].Run(o)
	return verdict, o.DataOut, err
}
