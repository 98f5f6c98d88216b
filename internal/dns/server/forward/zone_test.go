package forward

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	wire "github.com/miekg/dns"
)

// TestZones holds who is asked for a name: the longest zone decides, zones are
// cut at labels, and exceptions go to the next shorter one.
func TestZones(t *testing.T) {
	f := forwarder(t, Config{Zones: []Zone{
		{Name: ".", Servers: []Server{{Address: serve(t, "127.0.0.41:0", says("192.0.2.1"))}}, Except: []string{"internal"}},
		{Name: "Example.Local", Servers: []Server{{Address: serve(t, "127.0.0.41:0", says("192.0.2.2"))}}, Except: []string{"public.example.local"}},
		{Name: "deep.example.local.", Servers: []Server{{Address: serve(t, "127.0.0.41:0", says("192.0.2.3"))}}},
		{Name: "nobody.example.local.", ResolvConf: "/nonexistent"},
		{Name: "10.in-addr.arpa.", Servers: []Server{{Address: serve(t, "127.0.0.41:0", says("192.0.2.4"))}}},
	}})
	for name, want := range map[string]string{
		"www.example.com.": "192.0.2.1", ".": "192.0.2.1",
		"example.local.": "192.0.2.2", "a.b.EXAMPLE.local.": "192.0.2.2", `a\.example.local.`: "192.0.2.1", "xexample.local.": "192.0.2.1",
		"deep.example.local.": "192.0.2.3", "a.deep.example.local.": "192.0.2.3", "notdeep.example.local.": "192.0.2.2",
		"a.public.example.local.": "192.0.2.1", "republic.example.local.": "192.0.2.2",
		"a.nobody.example.local.": "192.0.2.2",
		"1.0.0.10.in-addr.arpa.":  "192.0.2.4", "1.0.0.110.in-addr.arpa.": "192.0.2.1",
		"db.internal.": ErrNoUpstream.Error(),
	} {
		if got := address(f.Exchange(t.Context(), a(name))); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	only := forwarder(t, Config{Zones: []Zone{{Name: "example.local", Servers: []Server{{Address: dead(t)}}}}})
	if _, err := only.Exchange(t.Context(), a("www.example.com.")); !errors.Is(err, ErrNoUpstream) || !only.Configured() {
		t.Errorf("%v", err)
	}
	if text := strings.Join(only.Describe(), "\n"); !strings.Contains(text, "no upstream: names outside of the cluster, and of the zones below, are refused\nupstream 127.0.0.21:") ||
		!strings.Contains(text, " of example.local. answers") {
		t.Error(text)
	}
}

// TestServersAndFile: addresses and the servers of a file are asked together,
// and a server that is there twice once.
func TestServersAndFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "resolv.conf")
	if err := os.WriteFile(path, []byte("nameserver 192.0.2.2\nnameserver 192.0.2.1\n"+strings.Repeat("nameserver 192.0.2.2\n", 5)), 0o600); err != nil {
		t.Fatal(err)
	}
	f := forwarder(t, Config{Zones: []Zone{{Name: ".", ResolvConf: path, TCP: true, Servers: []Server{{Address: netip.MustParseAddrPort("192.0.2.1:53")}}}}})
	list := *f.zones[0].upstreams.Load()
	if len(list) != 2 || list[0].Address.String() != "192.0.2.1:53" || list[1].Address.String() != "192.0.2.2:53" || list[1].Protocol != TCP {
		t.Errorf("%v", f.Describe())
	}
	var many strings.Builder
	for i := range 30 {
		many.WriteString("nameserver " + netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}).String() + "\n")
	}
	if err := os.WriteFile(path, []byte(many.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	if !f.zones[0].reread() || len(f.all()) > maxServers || !strings.Contains(strings.Join(f.Describe(), "\n"), "names more than the 14 servers that are used") {
		t.Errorf("%d servers: %v", len(f.all()), f.Describe())
	}
}

func TestBadConfig(t *testing.T) {
	at := netip.MustParseAddrPort("192.0.2.1:53")
	for want, c := range map[string]Config{
		`zone "a..b": "a..b" is not a DNS name`:                   {Zones: []Zone{{Name: "a..b"}}},
		`zone "a.": except: "b." does not lie in it`:              {Zones: []Zone{{Name: "a", Except: []string{"b"}}}},
		`zone "a." is there twice`:                                {Zones: []Zone{{Name: "a"}, {Name: "A."}}},
		`zone ".": upstream 0.0.0.0:53 is not an address`:         {Upstreams: []netip.AddrPort{netip.MustParseAddrPort("0.0.0.0:53")}},
		`zone "a.": upstream policy "best" is unknown`:            {Zones: []Zone{{Name: "a", Policy: "best"}}},
		`zone "a.": upstream 192.0.2.1:53: protocol "quic" is un`: {Zones: []Zone{{Name: "a", Servers: []Server{{Address: at, Protocol: "quic"}}}}},
		`zone "a.": 16 servers: at most 15`:                       {Zones: []Zone{{Name: "a", Servers: make([]Server, 16)}}},
		`zone "a.": limits must not be negative`:                  {Zones: []Zone{{Name: "a", MaxConcurrent: -1}}},
		`name of the health check: "x..y" is not a DNS name`:      {Zones: []Zone{{Name: "a", Probe: Probe{Name: "x..y"}}}},
		"limits of forwarding must not be negative":               {ReadTimeout: -1},
		"1001 zones have servers of their own":                    {Zones: make([]Zone, 1001)},
	} {
		if _, err := New(c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// TestProbe holds the question of health checks.
func TestProbe(t *testing.T) {
	got := make(chan *wire.Msg, 1)
	up := serve(t, "127.0.0.42:0", func(w wire.ResponseWriter, m *wire.Msg) {
		got <- m
		w.WriteMsg(new(wire.Msg).SetRcode(m, wire.RcodeRefused))
	})
	for _, p := range []Probe{{}, {Name: "health.example", NoRecursion: true}} {
		f := forwarder(t, Config{Zones: []Zone{{Name: ".", Probe: p, Servers: []Server{{Address: up}}}}})
		u := f.all()[0]
		u.failed(errSlow)
		u.failed(errSlow)
		u.probe(t.Context())
		m := <-got
		name := p.Name
		if name == "" {
			name = "."
		}
		if m.RecursionDesired == p.NoRecursion || m.Question[0].Name != wire.Fqdn(name) || m.Question[0].Qtype != wire.TypeNS || !u.healthy() {
			t.Errorf("%+v: %s, %s", p, m, u.state())
		}
	}
}
