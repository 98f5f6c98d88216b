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
		if !p.written || !u.empty() {
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
			p.written = false
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
	if err := p.base(t); err != nil {
		return nil, err
	}
	return newUpdate(t, emptyState(), want, skip, alone), nil
}

func tableComment() string { return fmt.Sprintf("Kubernetes Services, layout %d", layoutVersion) }

// base replaces whatever the kernel has of the table, but for the clients it
// remembers.
func (p *Plane) base(t *transaction) error {
	table, exists, err := p.socket.getTable(p.config.Table)
	if err != nil {
		return err
	}
	var sets []string
	switch {
	case exists && table.comment == tableComment():
		if sets, err = p.clear(t); err != nil {
			return err
		}
	case exists:
		t.deleteTable()
		fallthrough
	default:
		t.newTable(tableComment())
	}
	for _, s := range p.layout.sets() {
		if !s.keeps || !slices.Contains(sets, s.name) {
			t.newSet(s)
		}
	}
	t.addChains(p.dropInvalid)
	var list attributes
	list.verdictElement(refuse(), unix.NFT_GOTO, chainRefuse)
	list.verdictElement(silence(), verdictDrop, "")
	for _, f := range p.layout.families {
		t.elements(unix.NFT_MSG_NEWSETELEM, f.actions.name, list, nil)
	}
	return nil
}

// clear removes all but the sets that survive a restart, and returns the names
// of the sets that were there.
func (p *Plane) clear(t *transaction) ([]string, error) {
	chains, err := p.socket.names(unix.NFT_MSG_GETCHAIN, p.config.Table)
	if err != nil {
		return nil, err
	}
	sets, err := p.socket.names(unix.NFT_MSG_GETSET, p.config.Table)
	if err != nil {
		return nil, err
	}
	t.deleteRules("")
	keeps := map[string]bool{}
	for _, s := range p.layout.sets() {
		keeps[s.name] = s.keeps
		if s.verdicts && slices.Contains(sets, s.name) {
			t.clearSet(s.name) // lets go of the chains
		}
	}
	for _, name := range chains {
		t.deleteChain(name)
	}
	for _, name := range sets {
		if !keeps[name] {
			t.deleteSet(name)
		}
	}
	return sets, nil
}

// finish lets the state follow a transaction that the kernel has taken.
func (p *Plane) finish(u *update, generation uint32) error {
	fresh := !p.written
	p.noteStale(u, fresh)
	u.done()
	p.have, p.written = u.have, true
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
	var err error
	if fresh {
		if p.table, _, err = p.socket.getTable(p.config.Table); err != nil {
			return err
		}
	}
	if p.generation = generation + 1; generation == 0 || p.generation == 0 {
		p.generation, err = p.socket.generation()
	}
	return err
}
