package proxy

import "github.com/fairlead-net/fairlead/internal/l7/filter"

// Contents are those of the Secrets and ConfigMaps that a Table's Filters name.
// filter.Read makes them.
type Contents map[filter.Reference]*filter.Content

// SetContents makes these what Filters go by from now on. What a Filter names and is
// not there lets nothing through.
func (p *Proxy) SetContents(contents Contents) { p.contents.Store(&contents) }

// content returns that of a reference; nil if it is not there.
func (p *Proxy) content(r filter.Reference) *filter.Content { return (*p.contents.Load())[r] }
