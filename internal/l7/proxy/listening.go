package proxy

import (
	"sync/atomic"

	"github.com/fairlead-net/fairlead/internal/l7"
)

// listening is what listeners of TCP and of UDP have in common.
type listening struct {
	proxy    *Proxy
	name     string
	port     uint16
	protocol l7.Protocol
	// last is the last state that had this listener: what still comes in when it is
	// gone goes by that.
	last     atomic.Pointer[state]
	draining atomic.Bool
	meter    *listenerMeter
}

// set makes it that of a Listener in the state of the moment.
func (l *listening) set(p *Proxy, name string, spec *l7.Listener) {
	l.proxy, l.name, l.port, l.protocol, l.meter = p, name, spec.Port, spec.Protocol, p.tally.listener(name)
	l.last.Store(p.state.Load())
}

// in returns what a state wants of this listener; nil if that is another one, or none.
func (l *listening) in(s *state) *l7.Listener {
	spec := s.table.Listeners[l.name]
	if spec == nil || spec.Port != l.port || spec.Protocol != l.protocol {
		return nil
	}
	return spec
}

// current returns the state that what comes in goes by, and the listener's part of it.
func (l *listening) current() (*state, *l7.Listener) {
	s := l.proxy.state.Load()
	if spec := l.in(s); spec != nil {
		return s, spec
	}
	s = l.last.Load()
	return s, l.in(s)
}
