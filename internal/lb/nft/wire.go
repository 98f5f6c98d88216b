package nft

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// attributes are netlink attributes, one after the other. Numbers are in
// network order, as everywhere in nftables.
type attributes []byte

func (a *attributes) bytes(kind uint16, data []byte) {
	*a = binary.NativeEndian.AppendUint16(*a, uint16(unix.SizeofNlAttr+len(data)))
	*a = binary.NativeEndian.AppendUint16(*a, kind)
	*a = append(*a, data...)
	a.align()
}

func (a *attributes) align() {
	for len(*a)%unix.NLA_ALIGNTO != 0 {
		*a = append(*a, 0)
	}
}

func (a *attributes) u32(kind uint16, v uint32) {
	a.bytes(kind, binary.BigEndian.AppendUint32(make([]byte, 0, 4), v))
}

func (a *attributes) u64(kind uint16, v uint64) {
	a.bytes(kind, binary.BigEndian.AppendUint64(make([]byte, 0, 8), v))
}

func (a *attributes) string(kind uint16, s string) {
	a.bytes(kind, append([]byte(s), 0))
}

// open starts an attribute that holds others and returns what close needs.
func (a *attributes) open(kind uint16) int {
	start := len(*a)
	*a = binary.NativeEndian.AppendUint16(*a, 0)
	*a = binary.NativeEndian.AppendUint16(*a, kind|unix.NLA_F_NESTED)
	return start
}

func (a *attributes) close(start int) {
	binary.NativeEndian.PutUint16((*a)[start:], uint16(len(*a)-start))
}

// nested writes an attribute that holds what write adds.
func (a *attributes) nested(kind uint16, write func(*attributes)) {
	start := a.open(kind)
	write(a)
	a.close(start)
}

// value writes raw data where the kernel expects either data or a verdict.
func (a *attributes) value(kind uint16, data []byte) {
	start := a.open(kind)
	a.bytes(unix.NFTA_DATA_VALUE, data)
	a.close(start)
}

// each calls visit for every attribute. Broken ones end the walk: what the
// kernel sends is whole.
func each(data []byte, visit func(kind uint16, value []byte)) {
	for len(data) >= unix.SizeofNlAttr {
		length := int(binary.NativeEndian.Uint16(data))
		if length < unix.SizeofNlAttr || length > len(data) {
			return
		}
		visit(binary.NativeEndian.Uint16(data[2:])&0x3fff, data[unix.SizeofNlAttr:length])
		data = data[min(len(data), (length+unix.NLA_ALIGNTO-1)&^(unix.NLA_ALIGNTO-1)):]
	}
}

// find returns the value of the attribute at the end of a path, or nil.
func find(data []byte, path ...uint16) []byte {
	for _, kind := range path {
		var found []byte
		each(data, func(k uint16, value []byte) {
			if k == kind && found == nil {
				found = value
			}
		})
		data = found
	}
	return data
}

// messages are netlink messages for one system call. Every message has a number,
// by which an error names it.
type messages struct {
	data  []byte
	count uint32
	start int
}

// begin starts a message of a netfilter subsystem; family is NFPROTO_*.
func (m *messages) begin(kind, flags uint16, family uint8, resource uint16) {
	m.start = len(m.data)
	m.count++
	m.data = append(m.data, 0, 0, 0, 0)
	m.data = binary.NativeEndian.AppendUint16(m.data, kind)
	m.data = binary.NativeEndian.AppendUint16(m.data, flags|unix.NLM_F_REQUEST)
	m.data = binary.NativeEndian.AppendUint32(m.data, m.count)
	m.data = binary.NativeEndian.AppendUint32(m.data, 0)
	m.data = append(m.data, family, unix.NFNETLINK_V0)
	m.data = binary.BigEndian.AppendUint16(m.data, resource)
}

func (m *messages) end(a attributes) {
	m.data = append(m.data, a...)
	binary.NativeEndian.PutUint32(m.data[m.start:], uint32(len(m.data)-m.start))
}
