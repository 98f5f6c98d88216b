package nft

import (
	"net/netip"

	"golang.org/x/sys/unix"
)

// layoutVersion counts changes of the sets. A table of another version is replaced
// whole.
const layoutVersion = 1

// field is a part of a key or value: the number by which nft knows its type, and
// its length in bytes. Each takes whole words.
type field struct{ kind, length uint32 }

func (f field) words() int { return int(f.length+3) / 4 }

func words(fields []field) int {
	n := 0
	for _, f := range fields {
		n += f.words()
	}
	return n
}

// Types of nft, which its listings show.
func ipv4Address() field { return field{7, 4} }
func ipv6Address() field { return field{8, 16} }
func protocol() field    { return field{12, 1} }
func port() field        { return field{13, 2} }
func mark() field        { return field{19, 4} } // any 32 bits, in the processor's order
func interfaceName() field {
	return field{41, unix.IFNAMSIZ}
}

// maxRemembered is how many clients of Services with session affinity are
// remembered per family. Each takes some 150 bytes; the next ones have no affinity.
const maxRemembered = 1 << 19

// verdictType is how the kernel marks maps to verdicts.
const verdictType = 0xffffff00

// set is a set or map of the table.
type set struct {
	name      string
	key, data []field
	flags     uint32 // NFT_SET_*, without those that follow from key and data
	verdicts  bool
	size      uint32 // most elements, 0 for no limit
	// keeps tells that the elements are the kernel's own; even where the table is made
	// anew they stay.
	keeps bool
}

// family is all that differs between IPv4 and IPv6.
type family struct {
	suffix      string
	number      uint8 // NFPROTO_*
	address     field
	source      uint32 // offset in the header
	destination uint32
	ctOriginal  uint32
	any         netip.Addr

	// Maps from what a client asks for to what is done.
	inside, outside set
	actions         set
	// Lists of backends, by frontend and number.
	backends, outsideBackends set
	// Who was sent where, and whether that is still right.
	affinity, ids, outsideIDs, members, outsideMembers set
	// Sets of frontends with source ranges, and of what is let in.
	restricted, allowed set
	// Sets of addresses.
	node, clusterIPs, local, hairpin set
}

func newFamily(six bool) *family {
	f := &family{
		suffix: "4", number: unix.NFPROTO_IPV4, address: ipv4Address(),
		source: 12, destination: 16, ctOriginal: ctDstIP4, any: netip.IPv4Unspecified(),
	}
	if six {
		f = &family{
			suffix: "6", number: unix.NFPROTO_IPV6, address: ipv6Address(),
			source: 8, destination: 24, ctOriginal: ctDstIP6, any: netip.IPv6Unspecified(),
		}
	}
	frontend := []field{f.address, protocol(), port()}
	with := func(more ...field) []field { return append(frontend[:3:3], more...) }
	backend := []field{f.address, port()}
	action := []field{mark(), mark(), mark()}
	id := []field{mark(), mark()}
	address := []field{f.address}

	f.inside = set{name: "inside" + f.suffix, key: frontend, data: action}
	f.outside = set{name: "outside" + f.suffix, key: frontend, data: action}
	f.actions = set{name: "actions" + f.suffix, key: action[1:], verdicts: true}
	f.backends = set{name: "backends" + f.suffix, key: with(mark()), data: backend}
	f.outsideBackends = set{name: "outside-backends" + f.suffix, key: with(mark()), data: backend}
	f.affinity = set{
		name: "affinity" + f.suffix, key: append([]field{f.address}, frontend...), data: append(id, mark()),
		flags: unix.NFT_SET_TIMEOUT | unix.NFT_SET_EVAL, keeps: true, size: maxRemembered,
	}
	f.ids = set{name: "ids" + f.suffix, key: with(mark()), data: append(id, mark())}
	f.outsideIDs = set{name: "outside-ids" + f.suffix, key: with(mark()), data: append(id, mark())}
	f.members = set{name: "members" + f.suffix, key: with(id...), data: backend}
	f.outsideMembers = set{name: "outside-members" + f.suffix, key: with(id...), data: backend}
	f.restricted = set{name: "restricted" + f.suffix, key: frontend}
	f.allowed = set{name: "allowed" + f.suffix, key: with(f.address), flags: unix.NFT_SET_INTERVAL}
	f.node = set{name: "node" + f.suffix, key: address}
	f.clusterIPs = set{name: "cluster-ips" + f.suffix, key: address}
	f.local = set{name: "local" + f.suffix, key: address}
	f.hairpin = set{name: "hairpin" + f.suffix, key: []field{f.address, f.address}}
	return f
}

// sets lists what a family has.
func (f *family) sets() []set {
	return []set{
		f.inside, f.outside, f.actions, f.backends, f.outsideBackends, f.affinity, f.ids, f.outsideIDs, f.members, f.outsideMembers,
		f.restricted, f.allowed, f.node, f.clusterIPs, f.local, f.hairpin,
	}
}

func (f *family) is6() bool { return f.number == unix.NFPROTO_IPV6 }

// layout is the table's fixed part.
type layout struct {
	table    string
	families [2]*family // IPv4, IPv6
	uplinks  set
	// masqueradePorts are the first and the last; zero means any.
	masqueradePorts [2]uint16
}

func newLayout(table string) *layout {
	return &layout{
		table: table, families: [2]*family{newFamily(false), newFamily(true)},
		uplinks: set{name: "uplinks", key: []field{interfaceName()}},
	}
}

func (l *layout) sets() []set {
	all := []set{l.uplinks}
	for _, f := range l.families {
		all = append(all, f.sets()...)
	}
	return all
}

// of returns the family of an address.
func (l *layout) of(a netip.Addr) *family {
	if a.Is6() {
		return l.families[1]
	}
	return l.families[0]
}
