package l7

import (
	"net/netip"
	"strings"
	"time"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/pmap"
)

// Stream is where connections go whose bytes are passed on as they are: those of TLS
// that the endpoints themselves end, and those of any other protocol over TCP.
type Stream struct {
	// Source is the object that it was made of, and Rule which part of it.
	Source desired.Ref
	Rule   string
	// Host is what clients ask for in the handshake of TLS, *.REST for a wildcard; empty:
	// anything, or nothing.
	Host string
	// Access says which clients are let in; nil: all.
	Access *Access
	// Backends share the connections by weight. None, or none with a weight: they are
	// closed.
	Backends []Weighted
	// ProxyProtocol is the version of the PROXY protocol, 1 or 2, in which endpoints are
	// told who the client is, before its first byte; 0: they are not.
	ProxyProtocol uint8
	// Connect is how long a connection to an endpoint may take to be made, Idle how long
	// nothing may move; 0: the engine's defaults.
	Connect, Idle time.Duration
}

// Allows tells whether a client is let in.
func (s *Stream) Allows(client netip.Addr) bool { return s.Access.Allows(client) }

// Streams are the Streams of a Listener by the name that clients ask for (server name
// indication, RFC 6066, section 3). A nil *Streams has none.
type Streams struct {
	// names are by name, wildcards by what follows "*." in theirs.
	names, wildcards pmap.Map[string, *Stream]
	others           *Stream // nil if there is none
}

// NewStreams returns the Streams with these names, each exact, *.REST, or empty for
// clients that ask for another name or none.
func NewStreams(of map[string]*Stream) *Streams {
	e := (&Streams{}).edit()
	for name, s := range of {
		e.set(name, s)
	}
	return e.streams()
}

// Stream returns where a connection goes whose client asks for a name, in lower case
// and without a final dot; empty: for none. nil: what it brings is for the Routes. As
// with requests, a name that has Routes of its own is not that of a wildcard.
func (l *Listener) Stream(name string) *Stream {
	if l.Streams == nil {
		return nil
	}
	if s, ok := l.Streams.names.Get(name); ok {
		return s
	}
	_, rest, wild := strings.Cut(name, ".")
	if l.Routes != nil {
		if _, has := l.Routes.names.Get(name); has {
			return nil
		}
	}
	if wild {
		if s, ok := l.Streams.wildcards.Get(rest); ok {
			return s
		}
		if l.Routes != nil {
			if _, has := l.Routes.wildcards.Get(rest); has {
				return nil
			}
		}
	}
	return l.Streams.others
}

// streamsEditor changes Streams.
type streamsEditor struct {
	names, wildcards *pmap.Editor[string, *Stream]
	others           *Stream
}

func (s *Streams) edit() streamsEditor {
	if s == nil {
		s = &Streams{}
	}
	return streamsEditor{names: s.names.Edit(), wildcards: s.wildcards.Edit(), others: s.others}
}

// set stores the Stream of a name; nil: there is none.
func (e *streamsEditor) set(name string, s *Stream) {
	if name == "" {
		e.others = s
		return
	}
	to, key := e.names, name
	if rest, ok := strings.CutPrefix(name, "*."); ok {
		to, key = e.wildcards, rest
	}
	if s == nil {
		to.Delete(key)
	} else {
		to.Set(key, s)
	}
}

// streams returns what has come of it; nil: none.
func (e *streamsEditor) streams() *Streams {
	made := Streams{names: e.names.Map(), wildcards: e.wildcards.Map(), others: e.others}
	if made.names.Len()+made.wildcards.Len() == 0 && made.others == nil {
		return nil
	}
	return &made
}

// same tells whether two have the same Streams.
func (s *Streams) same(other *Streams) bool {
	return s == other || s != nil && other != nil && *s == *other
}
