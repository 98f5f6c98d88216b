package pebble

import (
	"log/slog"
	"net/netip"
	"testing"

	"github.com/fairlead-net/fairlead/internal/l7"
	"github.com/fairlead-net/fairlead/internal/l7/acme"
	"github.com/fairlead-net/fairlead/internal/l7/proxy"
)

// newGateway returns a replica whose answers are the proxy's, which has no Routes and no
// certificate yet.
func newGateway(t *testing.T, s *secrets) *replica {
	t.Helper()
	r := &replica{http: listen(t), https: listen(t)}
	p, err := proxy.New(proxy.Config{Address: netip.MustParseAddr("127.0.0.1"), Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if err != nil {
		t.Fatal(err)
	}
	r.answers.Store(new(acme.Answers))
	r.tell = p.SetAnswers
	for _, l := range []interface{ Close() error }{r.http, r.https} {
		_ = l.Close() // the ports are the proxy's from now on
	}
	table := l7.Table{Listeners: map[string]*l7.Listener{
		"http":  {Name: "http", Port: uint16(port(r.http)), Protocol: l7.HTTP, Routes: new(l7.Routes)},
		"https": {Name: "https", Port: uint16(port(r.https)), Protocol: l7.HTTPS, Routes: new(l7.Routes)},
	}}
	if err := p.Apply(t.Context(), table); err != nil {
		t.Fatal(err)
	}
	if err := p.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return r.follow(t, s)
}

// TestGateway: the authority asks the proxy itself, for hosts that have no Routes.
func TestGateway(t *testing.T) {
	for _, challenge := range []acme.Challenge{acme.HTTP01, acme.TLSALPN01} {
		t.Run(string(challenge), func(t *testing.T) {
			s := newSecrets()
			first, second := newGateway(t, s), newGateway(t, s)
			a := newAuthority(t, second, challenge, option{})
			lead(t, a.config, s, first, second).until(t, "certificate", hasOne)
			certificate(t, s, a.roots, "shop.example.com", "www.shop.example.com")
			if a.ordered() != 1 {
				t.Errorf("%d orders", a.ordered())
			}
		})
	}
}
