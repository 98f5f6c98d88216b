package nft

import (
	"context"
	"time"

	"golang.org/x/sys/unix"
)

// watch restores the rules when others have removed them, such as by flushing
// the ruleset. Asking for the generation is one short system call.
func (p *Plane) watch(ctx context.Context) {
	ticker := time.NewTicker(p.config.Watch)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if err := p.restore(ctx); err != nil && ctx.Err() == nil {
			p.log.Error("restoring nftables that others removed", "table", p.config.Table, "error", err)
		}
	}
}

func (p *Plane) restore(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.table == (kernelTable{}) {
		return nil
	}
	if err := p.look(); err != nil || p.written {
		return err
	}
	return p.sync(ctx)
}

// look notices changes by others: if any table changed since our last look, ours
// must still be there with all its chains' rules. Elements are not compared;
// should one be missing or too much, the kernel refuses the next change of it,
// and the table is made anew.
func (p *Plane) look() error {
	generation, err := p.socket.generation()
	if err != nil || generation == p.generation {
		return err
	}
	if p.written {
		whole, err := p.whole()
		if err != nil {
			return err
		}
		if !whole {
			p.log.Warn("others have removed rules of ours; the table is written anew", "table", p.config.Table)
			p.written = false
			p.restored++
		}
	}
	p.generation = generation
	return nil
}

func (p *Plane) whole() (bool, error) {
	table, exists, err := p.socket.getTable(p.config.Table)
	if err != nil || !exists || table.handle != p.table.handle {
		return false, err
	}
	rules, err := p.socket.names(unix.NFT_MSG_GETRULE, p.config.Table)
	return len(rules) == p.have.expected(p.layout, p.dropInvalid), err
}
