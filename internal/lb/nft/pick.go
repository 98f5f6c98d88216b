package nft

import (
	"encoding/binary"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// pick is a way to choose a backend. All frontends that have it share a chain.
type pick struct {
	six, node, outside bool
	count              uint32
	affinity           uint32 // seconds
}

// Bits of an action's first word besides the count.
const (
	actionOutside = 1 << 31
	actionNode    = 1 << 30
	maxBackends   = 1<<24 - 1
)

// action is the value of the maps inside and outside: what to do, and for how
// many seconds a client is remembered.
type action struct{ what, seconds uint32 }

// key is the action as the map of actions has it, value as inside and outside do:
// with a word before it that nobody needs, for which see stand.
func (a action) key() []byte { return a.value()[bytesOfWord:] }

func (a action) value() []byte {
	value := make([]byte, bytesOfWord, 3*bytesOfWord)
	return binary.NativeEndian.AppendUint32(binary.NativeEndian.AppendUint32(value, a.what), a.seconds)
}

// refuse and silence are the actions without a backend.
func refuse() action  { return action{0, 0} }
func silence() action { return action{0, 1} }

func (p pick) action() action {
	a := action{p.count, p.affinity}
	if p.outside {
		a.what |= actionOutside
	}
	if p.node {
		a.what |= actionNode
	}
	return a
}

// pickOf is the inverse of pick.action.
func pickOf(a action, six bool) pick {
	return pick{six: six, node: a.what&actionNode != 0, outside: a.what&actionOutside != 0, count: a.what & maxBackends, affinity: a.seconds}
}

func (p pick) chain() string {
	name := "pick4"
	if p.six {
		name = "pick6"
	}
	name += fmt.Sprintf("-%d", p.count)
	if p.node {
		name += "-node"
	}
	if p.outside {
		name += "-outside"
	}
	if p.affinity > 0 {
		name += "-" + (time.Duration(p.affinity) * time.Second).String()
	}
	return name
}

// addPick writes a chain that sends a connection to one of a number of backends.
func (t *transaction) addPick(p pick) {
	f := t.layout.families[0]
	if p.six {
		f = t.layout.families[1]
	}
	t.newChain(p.chain(), nil)
	if p.affinity > 0 {
		t.newRule(p.chain(), p.remembered(f))
	}
	t.newRule(p.chain(), p.choose(f, p.affinity > 0))
	if p.affinity > 0 {
		// The map that remembers clients is full.
		t.newRule(p.chain(), p.choose(f, false))
	}
	lost := rule{comment: "the list changed this very moment; the client tries again"}
	lost.drop()
	t.newRule(p.chain(), lost)
}

// choose takes a backend by chance, and remembers it if asked to.
func (p pick) choose(f *family, remember bool) rule {
	r := f.rule("")
	frontend := 0
	if remember {
		r.load(0, f, f.source)
		frontend = f.address.words()
	}
	index := frontend + words(f.inside.key)
	free := index + 1
	r.frontend(frontend, f, p.node)
	r.random(index, p.count)
	backends, ids := f.backends, f.ids
	if p.outside {
		backends, ids = f.outsideBackends, f.outsideIDs
	}
	if remember {
		r.stand(free+1, 2)
		r.get(frontend, ids, free)
		r.stand(free, 1)
		// An update alone would keep the backend that was remembered before.
		r.change(opDelete, f.affinity, 0, free, 0)
		r.change(unix.NFT_DYNSET_OP_UPDATE, f.affinity, 0, free, p.affinity)
	}
	r.get(frontend, backends, free)
	r.dnat(f, free, free+f.address.words())
	return r
}

// remembered takes the backend that the client had, if it still is one, and
// counts the client's time from now.
func (p pick) remembered(f *family) rule {
	r := f.rule("a client with affinity goes where it went before, if that backend is still there")
	frontend := f.address.words()
	id := frontend + words(f.inside.key)
	members := f.members
	if p.outside {
		members = f.outsideMembers
	}
	r.load(0, f, f.source)
	r.frontend(frontend, f, p.node)
	r.stand(id, 2)
	r.get(0, f.affinity, id-1)
	r.port(id - 1)
	// Who is no member any more is chosen anew, and then this is overwritten.
	r.change(unix.NFT_DYNSET_OP_UPDATE, f.affinity, 0, id-1, p.affinity)
	r.get(frontend, members, id)
	r.dnat(f, id, id+f.address.words())
	return r
}

// stand loads n words of nothing, one by one.
//
// They stand for what a map is about to load there. The program nft, up to
// version 1.0.6 at least, knows only the first register of a value from a map,
// thinks it has no length, and aborts when it is used in a key. So such values
// begin with a word that nobody needs, and where the rest goes nft sees the
// zeros. The kernel sees the values.
func (r *rule) stand(word, n int) {
	for i := range n {
		r.constant(word+i, make([]byte, bytesOfWord))
	}
}
