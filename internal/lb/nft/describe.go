package nft

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Describe says in human lines what the table holds and what is amiss. It does
// not wait for an Apply.
func (p *Plane) Describe() []string {
	if !p.mu.TryLock() {
		var lines []string
		if last := p.described.Load(); last != nil {
			lines = *last
		}
		return append(slices.Clone(lines), "busy: a change is being written; what else is said here was so before")
	}
	defer p.mu.Unlock()
	lines := p.describe()
	p.described.Store(&lines)
	return lines
}

func (p *Plane) describe() []string {
	if !p.written {
		return []string{"nothing applied yet"}
	}
	lines := []string{fmt.Sprintf("table inet %s: %d frontends, NodePorts at %d addresses, uplinks %v", p.config.Table, p.have.entries.Len(), len(p.have.node), p.have.uplinks)}
	if p.restored > 0 {
		lines = append(lines, fmt.Sprintf("others removed rules of ours %d times; they were restored. Does a firewall flush the whole ruleset?", p.restored))
	}
	if len(p.refused) > 0 {
		var names []string
		for f := range p.refused {
			names = append(names, f.String())
		}
		slices.Sort(names)
		lines = append(lines, fmt.Sprintf("%d frontends cannot be written, such as %s", len(names), strings.Join(names[:min(3, len(names))], ", ")))
	}
	if !p.dropInvalid {
		why := "net.netfilter.nf_conntrack_tcp_be_liberal is 1"
		if p.config.Liberal {
			why = "lb.conntrack.tcpBeLiberal is set"
		}
		lines = append(lines, "packets that conntrack calls invalid pass, as "+why)
	}
	return lines
}

// InvalidDropped returns how many packets were dropped because conntrack called
// them invalid (Kubernetes issue 74839), or, during an Apply, how many it was
// when this was asked last.
func (p *Plane) InvalidDropped() (uint64, error) {
	if !p.mu.TryLock() {
		return p.dropped.Load(), nil
	}
	defer p.mu.Unlock()
	if p.closed || !p.written || !p.dropInvalid {
		return 0, nil
	}
	dropped, err := p.socket.counter(p.config.Table, invalidCounter)
	if err == nil {
		p.dropped.Store(dropped)
	}
	return dropped, err
}

// Remove removes the tables, if there are any, from the network namespace of this
// thread. Connections that they translated stay translated.
func Remove() error {
	s, err := openSocket()
	if err != nil {
		return err
	}
	defer s.close()
	failed := removeHandover(s, DefaultTable)
	if _, exists, err := s.getTable(DefaultTable); err != nil || !exists {
		return errors.Join(failed, err)
	}
	t := newTransaction(newLayout(DefaultTable))
	t.deleteTable()
	if err := t.commit(s, 0); err != nil && !errors.Is(err, unix.ENOENT) {
		return errors.Join(failed, fmt.Errorf("deleting nftables table inet %s: %w", DefaultTable, err))
	}
	return failed
}
