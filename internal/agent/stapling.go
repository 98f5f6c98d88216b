package agent

import (
	"context"
	"log/slog"

	"github.com/fairlead-net/fairlead/internal/l7/proxy"
	"github.com/fairlead-net/fairlead/internal/l7/staple"
)

// stapling gives the certificates of a gateway what their responders say. Agents hand it
// on to each other, so that a changed configuration takes nothing from certificates that
// must show it (RFC 7633).
type stapling struct {
	// mode is gateway.ocspStapling; stapler is nil if that is none.
	mode    string
	stapler *staple.Stapler
	changed chan struct{}
	// plain are the certificates where nothing is stapled.
	plain proxy.Certificates
}

// staples returns what is kept of the responders of this mode.
func (k *Kept) staples(mode string, log *slog.Logger) *stapling {
	if k.stapling != nil && k.stapling.mode == mode {
		return k.stapling
	}
	s := &stapling{mode: mode, changed: make(chan struct{}, 1)}
	if mode != "none" {
		s.stapler = staple.New(staple.Options{Private: mode == "any", Changed: s.poke, Log: log.With("plane", "gateway")})
	}
	k.stapling = s
	return s
}

func (s *stapling) poke() {
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// offer says what is served, and returns it with what is known of it. It waits for
// nothing.
func (s *stapling) offer(all proxy.Certificates) proxy.Certificates {
	s.plain = all
	if s.stapler != nil {
		s.stapler.Offer(staple.Certificates(all))
	}
	return s.certificates()
}

// certificates returns the offered ones with what is known of them now.
func (s *stapling) certificates() proxy.Certificates {
	if s.stapler == nil {
		return s.plain
	}
	return proxy.Certificates(s.stapler.Certificates())
}

// run asks responders until ctx ends.
func (s *stapling) run(ctx context.Context) error {
	if s.stapler != nil {
		_ = s.stapler.Run(ctx) // it ends with ctx only
	}
	return nil
}
