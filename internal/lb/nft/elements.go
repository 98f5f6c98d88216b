package nft

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairlead-net/fairlead/internal/lb"
)

// order is in which slots of the kernel's lists the backends of an Entry are.
type order struct{ inside, outside []netip.AddrPort }

// arrange returns an order of the wanted backends that differs from old in as
// few slots as possible.
func arrange(old, want []netip.AddrPort) []netip.AddrPort {
	if len(old) == 0 || len(want) == 0 {
		return want
	}
	waiting := make(map[netip.AddrPort]bool, len(want))
	for _, b := range want {
		waiting[b] = true
	}
	slots := make([]netip.AddrPort, len(want))
	for i, b := range old {
		if i < len(slots) && waiting[b] {
			slots[i] = b
			delete(waiting, b)
		}
	}
	next := 0
	for _, b := range want {
		if !waiting[b] {
			continue
		}
		for slots[next].IsValid() {
			next++
		}
		slots[next] = b
	}
	return slots
}

func arrangeEntry(old order, e *lb.Entry) order {
	o := order{inside: arrange(old.inside, e.Backends)}
	if e.Outside != nil {
		o.outside = arrange(old.outside, e.Outside.Backends)
	}
	return o
}

// element is one element of a set or map.
type element struct {
	set            string
	key, end, data []byte
}

// problem says why an Entry cannot be written, or nil.
func problem(f lb.Frontend, e *lb.Entry) error {
	lists := [][]netip.AddrPort{e.Backends}
	if e.Outside != nil {
		lists = append(lists, e.Outside.Backends)
	}
	for _, list := range lists {
		if len(list) > maxBackends {
			return fmt.Errorf("%d backends, at most %d are possible", len(list), maxBackends)
		}
		for _, b := range list {
			if b.Addr().Is6() != f.Address.Is6() || b.Addr().Is4In6() {
				return fmt.Errorf("backend %s is of another address family", b)
			}
		}
	}
	return nil
}

// seconds rounds up: a client may be remembered longer, never shorter.
func seconds(d time.Duration) uint32 { return uint32((d + time.Second - 1) / time.Second) }

// picks returns the ways to choose that an Entry needs.
func picks(f lb.Frontend, e *lb.Entry) []pick {
	var all []pick
	p := pick{six: f.Address.Is6(), node: f.IsNodePort(), affinity: seconds(e.Affinity)}
	if n := len(e.Backends); n > 0 {
		p.count = uint32(n)
		all = append(all, p)
	}
	if e.Outside != nil && len(e.Outside.Backends) > 0 {
		p.outside, p.count = true, uint32(len(e.Outside.Backends))
		all = append(all, p)
	}
	return all
}

func actionOf(f lb.Frontend, e *lb.Entry, c lb.Choice, outside bool) action {
	switch {
	case len(c.Backends) > 0:
		return pick{node: f.IsNodePort(), outside: outside, count: uint32(len(c.Backends)), affinity: seconds(e.Affinity)}.action()
	case c.Drop:
		return silence()
	}
	return refuse()
}

// elements calls visit for each element that a frontend has; what visit gets is
// overwritten by the next one.
func (l *layout) elements(f lb.Frontend, e *lb.Entry, o order, visit func(element)) {
	family := l.of(f.Address)
	key := frontendKey(f)
	visit(element{set: family.inside.name, key: key, data: actionOf(f, e, e.Choice, false).value()})
	listElements(key, e, o.inside, [3]string{family.backends.name, family.ids.name, family.members.name}, visit)
	if e.Outside != nil {
		visit(element{set: family.outside.name, key: key, data: actionOf(f, e, *e.Outside, true).value()})
		listElements(key, e, o.outside, [3]string{family.outsideBackends.name, family.outsideIDs.name, family.outsideMembers.name}, visit)
	}
	if e.Sources == nil {
		return
	}
	visit(element{set: family.restricted.name, key: key})
	for _, p := range disjoint(e.Sources, family.is6()) {
		visit(element{
			set: family.allowed.name,
			key: append(key[:len(key):len(key)], p.Masked().Addr().AsSlice()...),
			end: append(key[:len(key):len(key)], lastOf(p).AsSlice()...),
		})
	}
}

// listElements visits the elements of one list, in the sets named.
func listElements(key []byte, e *lb.Entry, list []netip.AddrPort, sets [3]string, visit func(element)) {
	long, data := make([]byte, 0, 32), make([]byte, 0, 20)
	for i, b := range list {
		long = binary.NativeEndian.AppendUint32(append(long[:0], key...), uint32(i))
		data = appendBackend(data[:0], b)
		visit(element{set: sets[0], key: long, data: data})
		if e.Affinity > 0 {
			id := idOf(b)
			visit(element{set: sets[1], key: long, data: append(make([]byte, bytesOfWord), id...)})
			visit(element{set: sets[2], key: append(append(long[:0], key...), id...), data: data})
		}
	}
}

// idOf is a backend in 8 bytes, by which clients are remembered. It must never
// change, or clients lose their backends when the process is replaced.
func idOf(b netip.AddrPort) []byte {
	h := fnv.New64a()
	_, _ = h.Write(appendBackend(nil, b))
	return h.Sum(nil)
}

func frontendKey(f lb.Frontend) []byte {
	key := append(make([]byte, 0, 24), f.Address.AsSlice()...)
	key = append(key, byte(f.Protocol), 0, 0, 0)
	return appendPort(key, f.Port)
}

func appendPort(data []byte, port uint16) []byte {
	return append(binary.BigEndian.AppendUint16(data, port), 0, 0)
}

func appendBackend(data []byte, b netip.AddrPort) []byte {
	return appendPort(append(data, b.Addr().AsSlice()...), b.Port())
}

// disjoint returns ranges of one family, without those inside others.
func disjoint(ranges []netip.Prefix, six bool) []netip.Prefix {
	var all []netip.Prefix
	for _, p := range ranges {
		if p.Addr().Is6() == six && p.IsValid() {
			all = append(all, p.Masked())
		}
	}
	slices.SortFunc(all, func(a, b netip.Prefix) int { return a.Bits() - b.Bits() })
	var kept []netip.Prefix
	for _, p := range all {
		if !slices.ContainsFunc(kept, func(k netip.Prefix) bool { return k.Contains(p.Addr()) }) {
			kept = append(kept, p)
		}
	}
	return kept
}

// lastOf returns the last address of a range.
func lastOf(p netip.Prefix) netip.Addr {
	last := p.Masked().Addr().AsSlice()
	for i, bits := range maskOf(p) {
		last[i] |= ^bits
	}
	a, _ := netip.AddrFromSlice(last)
	return a
}

// edits gathers elements to remove and to add, by set.
type edits struct {
	names       []string
	remove, add map[string]*pieces
	// alone are frontends whose elements get messages of their own.
	alone map[lb.Frontend]bool
	spoil func(*element)
}

func newEdits(alone map[lb.Frontend]bool) *edits {
	return &edits{remove: map[string]*pieces{}, add: map[string]*pieces{}, alone: alone}
}

// pieces are lists of elements, each of which fits a message.
type pieces []*piece

type piece struct {
	list   attributes
	owners []lb.Frontend
}

// put appends an element; owner is the frontend it belongs to, if any.
func (e *edits) put(to map[string]*pieces, x element, owner *lb.Frontend) {
	if e.spoil != nil {
		e.spoil(&x)
	}
	list := to[x.set]
	if list == nil {
		list = new(pieces)
		to[x.set] = list
		if !slices.Contains(e.names, x.set) {
			e.names = append(e.names, x.set)
		}
	}
	p := e.pieceFor(list, owner)
	p.list.nested(unix.NFTA_LIST_ELEM, func(a *attributes) {
		a.value(unix.NFTA_SET_ELEM_KEY, x.key)
		if x.end != nil {
			a.value(elementEnd, x.end)
		}
		if x.data != nil {
			a.value(unix.NFTA_SET_ELEM_DATA, x.data)
		}
	})
}

func (e *edits) pieceFor(list *pieces, owner *lb.Frontend) *piece {
	var last *piece
	if n := len(*list); n > 0 {
		last = (*list)[n-1]
	}
	same := last != nil && (owner == nil) == (len(last.owners) == 0)
	if same && owner != nil {
		previous := last.owners[len(last.owners)-1]
		same = previous == *owner || !e.alone[previous] && !e.alone[*owner]
	}
	if !same || len(last.list) > chunk {
		last = &piece{}
		*list = append(*list, last)
	}
	if owner != nil && (len(last.owners) == 0 || last.owners[len(last.owners)-1] != *owner) {
		last.owners = append(last.owners, *owner)
	}
	return last
}

// write appends all to a transaction, what is removed first.
func (e *edits) write(t *transaction) {
	for _, list := range []struct {
		kind uint16
		of   map[string]*pieces
	}{{unix.NFT_MSG_DELSETELEM, e.remove}, {unix.NFT_MSG_NEWSETELEM, e.add}} {
		for _, name := range e.names {
			if list.of[name] == nil {
				continue
			}
			for _, p := range *list.of[name] {
				t.elements(list.kind, name, p.list, p.owners)
			}
		}
	}
}
