package nft

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/fairlead-net/fairlead/internal/lb"
	"github.com/fairlead-net/fairlead/internal/reconcile"
)

// tries is how often a transaction is repeated. In the second half it is made
// whatever others change in other tables at the same time.
const tries = 30

// write brings the kernel from what it has to want. The error is a
// PartialError if it concerns but single frontends.
func (p *Plane) write(ctx context.Context, want lb.Table) error {
	skip, alone := map[lb.Frontend]bool{}, maps.Clone(p.refused)
	var problems error
	for try := range tries {
		if err := errors.Join(ctx.Err(), p.look()); err != nil {
			return err
		}
		generation := p.generation
		if try > tries/2 {
			generation = 0
		}
		u, err := p.update(want, skip, alone)
		if err != nil {
			return err
		}
		switch {
		case len(u.fresh) > 0 && (p.written || u.present != nil):
			if err = p.addChains(u.fresh, generation); err == nil {
				continue // what uses the chains can be written now
			}
		case !p.written || !u.empty():
			err = u.commit(p.socket, generation)
		}
		var no refused
		switch {
		case err == nil:
			return reconcile.Join(p.finish(u, generation), reconcile.Partial(u.wrong, problems))
		case errors.Is(err, unix.ERESTART):
			continue // somebody was faster; look again
		case !errors.As(err, &no):
			return err
		case p.written && !p.expects(u, no):
			// The table is not what we think. Making it anew mends that.
			p.log.Warn("nftables refused a change; the table is written anew", "table", p.config.Table, "error", err)
			p.written, p.distrust = false, true
		case !p.written && u.present != nil:
			p.log.Warn("nftables refused to go on with the table that was there; it is written anew", "table", p.config.Table, "error", err)
			p.distrust = true
		default:
			about, more := u.isolate(no, skip, alone)
			if !about {
				return errors.Join(err, problems)
			}
			problems = errors.Join(problems, more)
		}
	}
	return errors.Join(fmt.Errorf("nftables of table %s change all the time, or refuse too much; the next try comes soon", p.config.Table), problems)
}

// addChains makes chains that pick backends, before anything leads to them. A packet
// that began its way in one generation of the rules goes through the chains as that
// generation has them, but through the maps as the present one does: were both new at
// once it could be sent to a chain that is still empty for it, and leave untranslated.
func (p *Plane) addChains(fresh []pick, generation uint32) error {
	t := newTransaction(p.layout)
	for _, k := range fresh {
		t.addPick(k)
		t.elements(unix.NFT_MSG_NEWSETELEM, t.familyOf(k).actions.name, k.verdict(), nil)
	}
	err := t.commit(p.socket, generation)
	var no refused
	switch {
	case errors.As(err, &no):
		p.log.Warn("nftables refused chains; the table is written anew", "table", p.config.Table, "error", err)
		p.written, p.distrust = false, true
		return nil
	case err != nil:
		return err
	case p.written:
		for _, k := range fresh {
			p.have.picks[k] = 0
		}
	}
	return p.nextGeneration(generation)
}

// nextGeneration notes that this process has changed the rules of a generation; 0
// stands for any.
func (p *Plane) nextGeneration(generation uint32) (err error) {
	if p.generation = generation + 1; generation == 0 || p.generation == 0 {
		p.generation, err = p.socket.generation()
	}
	return err
}

// expects tells whether each refusal concerns a frontend that the kernel has
// refused before, in a table made anew.
func (p *Plane) expects(u *update, no refused) bool {
	return !slices.ContainsFunc(no, func(r refusal) bool {
		return !slices.ContainsFunc(u.owners[r.message], func(f lb.Frontend) bool { return p.refused[f] })
	})
}

// isolate notes which frontends to leave out next time, and which to write in
// messages of their own to tell whose fault it is. It reports whether the
// refusal is about frontends at all.
func (u *update) isolate(no refused, skip, alone map[lb.Frontend]bool) (about bool, problems error) {
	for _, r := range no {
		owners := u.owners[r.message]
		switch len(owners) {
		case 0:
			return false, nil
		case 1:
			if f := owners[0]; !skip[f] {
				skip[f] = true
				problems = errors.Join(problems, fmt.Errorf("the kernel refuses %s: %w", f, r.errno))
			}
		default:
			for _, f := range owners {
				alone[f] = true
			}
		}
	}
	return true, problems
}

// update makes the transaction: a difference, or the whole table if the one in
// the kernel is not known to be whole.
func (p *Plane) update(want lb.Table, skip, alone map[lb.Frontend]bool) (*update, error) {
	t := newTransaction(p.layout)
	t.spoil = p.spoil
	if p.written {
		return newUpdate(t, p.have, want, skip, alone), nil
	}
	have, err := p.base(t)
	if err != nil {
		return nil, err
	}
	return newUpdate(t, have, want, skip, alone), nil
}

func tableComment() string { return fmt.Sprintf("Kubernetes Services, layout %d", layoutVersion) }

// base brings the table to where an update can start from, and returns what it has
// then: a table of this layout is adopted, unless the kernel has refused that; another
// one is replaced.
func (p *Plane) base(t *transaction) (*state, error) {
	table, exists, err := p.socket.getTable(p.config.Table)
	if err != nil {
		return nil, err
	}
	have, sets := emptyState(), map[string]bool{}
	switch {
	case exists && table.comment == tableComment():
		if sets, err = p.setNames(); err != nil {
			return nil, err
		}
		if p.distrust {
			sets, err = p.clear(t, sets)
		} else {
			have, err = p.adopt(t, sets)
		}
		if err != nil {
			return nil, err
		}
	case exists:
		t.deleteTable()
		fallthrough
	default:
		t.newTable(tableComment())
	}
	for _, s := range p.layout.sets() {
		if !sets[s.name] {
			t.newSet(s)
		}
	}
	p.replaceRules(t, have)
	for _, f := range p.layout.families {
		t.fixed(f, refuse(), unix.NFT_GOTO, chainRefuse)
		t.fixed(f, silence(), verdictDrop, "")
	}
	return have, nil
}

// fixed writes an element of a map of actions that is always there.
func (t *transaction) fixed(f *family, a action, code int32, chain string) {
	key := elementKey{set: f.actions.name, key: string(a.key())}
	if was, there := t.present[key]; there && was == chain {
		delete(t.present, key)
		return
	}
	var list attributes
	list.verdictElement(a, code, chain)
	t.elements(unix.NFT_MSG_NEWSETELEM, f.actions.name, list, nil)
}

func (p *Plane) setNames() (map[string]bool, error) {
	names, err := p.socket.names(unix.NFT_MSG_GETSET, p.config.Table)
	sets := map[string]bool{}
	for _, name := range names {
		sets[name] = true
	}
	return sets, err
}

// clear removes all but the sets that survive that, whose names it returns.
func (p *Plane) clear(t *transaction, sets map[string]bool) (map[string]bool, error) {
	chains, err := p.socket.names(unix.NFT_MSG_GETCHAIN, p.config.Table)
	if err != nil {
		return nil, err
	}
	t.deleteRules("")
	keeps := map[string]bool{}
	for _, s := range p.layout.sets() {
		if !sets[s.name] {
			continue
		}
		if s.verdicts {
			t.clearSet(s.name) // lets go of the chains
		}
		if s.keeps {
			keeps[s.name] = true
		}
	}
	for _, name := range chains {
		t.deleteChain(name)
	}
	for name := range sets {
		if !keeps[name] {
			t.deleteSet(name)
		}
	}
	return keeps, nil
}

// finish lets the state follow a transaction that the kernel has taken.
func (p *Plane) finish(u *update, generation uint32) error {
	fresh := !p.written
	p.noteStale(u, fresh)
	u.done()
	p.have, p.written, p.distrust = u.have, true, false
	for f := range u.changed {
		delete(p.refused, f)
	}
	for _, f := range u.left {
		if fresh {
			p.refused[f] = true
		}
	}
	maps.DeleteFunc(p.refused, func(f lb.Frontend, _ bool) bool {
		_, wanted := p.want.Entries.Get(f)
		return !wanted
	})
	if u.empty() {
		return nil
	}
	if fresh {
		var err error
		if p.table, _, err = p.socket.getTable(p.config.Table); err != nil {
			return err
		}
	}
	return p.nextGeneration(generation)
}
