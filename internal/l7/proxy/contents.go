package proxy

import (
	"sync"

	"github.com/fairlead-net/fairlead/internal/l7/filter"
)

// Contents are those of the Secrets and ConfigMaps that a Table's Filters name.
// filter.Read makes them.
type Contents map[filter.Reference]*filter.Content

// SetContents makes these what Filters go by from now on. What a Filter names and is
// not there lets nothing through.
func (p *Proxy) SetContents(contents Contents) { p.contents.Store(&contents) }

// content returns that of a reference; nil if it is not there.
func (p *Proxy) content(r filter.Reference) *filter.Content { return (*p.contents.Load())[r] }

// decisions keeps answers about who is let in.
type decisions struct {
	mu    sync.Mutex
	known map[string]*decision
}

func (d *decisions) get(key string, now int64) *decision {
	d.mu.Lock()
	defer d.mu.Unlock()
	known := d.known[key]
	if known == nil || known.until <= now {
		return nil
	}
	return known
}

// put keeps an answer, in place of any other if there are too many.
func (d *decisions) put(key string, made *decision) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.known) >= maxDecisions {
		for other := range d.known { // in no order
			delete(d.known, other)
			break
		}
	}
	d.known[key] = made
}
