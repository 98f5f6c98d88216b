package nft

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// What an earlier process left is taken over where it lies: chains and sets stay,
// their rules are written anew, and of the elements only those that differ.
//
// To replace the sets would be simpler, and one transaction too; but a packet that
// is on its way through the old rules while the kernel changes generations looks into
// the old sets with the eyes of the new generation, for which they are empty. It was
// then refused, or it left untranslated and conntrack kept it so.

// elementKey names an element of the table.
type elementKey struct{ set, key, end string }

func keyOf(x element) elementKey { return elementKey{x.set, string(x.key), string(x.end)} }

// adopt reads what is there into a transaction: chains, and the elements of sets. It
// returns the state that the transaction starts from: the picks that exist.
func (p *Plane) adopt(t *transaction, sets map[string]bool) (*state, error) {
	chains, err := p.socket.names(unix.NFT_MSG_GETCHAIN, p.config.Table)
	if err != nil {
		return nil, err
	}
	t.chains, t.present = map[string]bool{}, map[elementKey]string{}
	for _, name := range chains {
		t.chains[name] = true
	}
	for _, s := range p.layout.sets() {
		if s.keeps || !sets[s.name] {
			continue
		}
		restart := func() {
			for k := range t.present {
				if k.set == s.name {
					delete(t.present, k)
				}
			}
		}
		err := p.socket.readElements(p.config.Table, s.name, restart, func(x kernelElement) {
			t.present[elementKey{s.name, string(x.key), string(x.end)}] = string(x.data) + x.chain
		})
		if err != nil {
			return nil, err
		}
	}
	return p.adoptPicks(t)
}

// adoptPicks keeps the chains that pick backends, whether they are going to be used
// or not: a packet may be on its way to one.
func (p *Plane) adoptPicks(t *transaction) (*state, error) {
	have := emptyState()
	for _, f := range p.layout.families {
		found := map[pick]bool{}
		err := p.socket.readElements(p.config.Table, f.actions.name, func() { clear(found) }, func(x kernelElement) {
			if len(x.key) != 2*bytesOfWord {
				return
			}
			k := pickOf(action{binary.NativeEndian.Uint32(x.key), binary.NativeEndian.Uint32(x.key[bytesOfWord:])}, f.is6())
			if k.count > 0 && x.chain == k.chain() {
				found[k] = true
			}
		})
		if err != nil {
			return nil, err
		}
		for k := range found {
			have.picks[k] = 0
			delete(t.present, elementKey{set: f.actions.name, key: string(k.action().key())})
		}
	}
	have.unused = len(have.picks)
	return have, nil
}

// replaceRules writes all rules anew, in the chains that are there.
func (p *Plane) replaceRules(t *transaction, have *state) {
	if t.chains != nil {
		t.deleteRules("")
	}
	t.addChains(p.dropInvalid)
	for k := range have.picks {
		t.addPick(k)
	}
	for name := range t.chains {
		if !t.named[name] {
			t.deleteChain(name)
			delete(t.chains, name)
		}
	}
}
