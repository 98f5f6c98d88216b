package forward

import (
	"fmt"
	"testing"
	"time"

	wire "github.com/miekg/dns"
)

func parse(t *testing.T, text string) wire.RR {
	t.Helper()
	rr, err := wire.NewRR(text)
	if err != nil {
		t.Fatal(err)
	}
	return rr
}

func TestLifetime(t *testing.T) {
	for name, c := range map[string]struct {
		rcode        int
		answer, auth []string
		want         time.Duration
	}{
		"smallest TTL":      {0, []string{"www.example.com. 60 A 192.0.2.1", "www.example.com. 20 A 192.0.2.2"}, nil, 20 * time.Second},
		"TTL zero":          {0, []string{"www.example.com. 0 A 192.0.2.1"}, nil, 0},
		"NXDOMAIN":          {3, nil, []string{"example.com. 300 SOA a. b. 1 2 3 4 7"}, 7 * time.Second},
		"NXDOMAIN, SOA TTL": {3, nil, []string{"example.com. 5 SOA a. b. 1 2 3 4 700"}, 5 * time.Second},
		"NODATA":            {0, nil, []string{"example.com. 300 SOA a. b. 1 2 3 4 7"}, 7 * time.Second},
		"no SOA":            {3, nil, nil, 0},
		"alias to nothing":  {0, []string{"www.example.com. 60 CNAME x.example.com."}, nil, 0},
		"alias, NODATA":     {0, []string{"www.example.com. 60 CNAME x.example.com."}, []string{"example.com. 300 SOA a. b. 1 2 3 4 7"}, 7 * time.Second},
		"SERVFAIL":          {2, nil, nil, time.Second},
		"REFUSED":           {5, nil, nil, 0},
	} {
		m := new(wire.Msg).SetQuestion("www.example.com.", wire.TypeA)
		m.Rcode = c.rcode
		for _, text := range c.answer {
			m.Answer = append(m.Answer, parse(t, text))
		}
		for _, text := range c.auth {
			m.Ns = append(m.Ns, parse(t, text))
		}
		if got := lifetime(m); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

func TestCacheAges(t *testing.T) {
	c := newCache(Config{CacheEntries: 10, CacheBytes: 1 << 20, MaxTTL: 30 * time.Second})
	now := time.Now()
	c.now = func() time.Time { return now }
	m := new(wire.Msg).SetQuestion("www.example.com.", wire.TypeA)
	m.Answer = []wire.RR{parse(t, "www.example.com. 20 A 192.0.2.1")}
	c.put("a", m)
	now = now.Add(5 * time.Second)
	if got, ok := c.get("a"); !ok || got.Answer[0].Header().Ttl != 15 {
		t.Errorf("after 5 s: %v", got)
	}
	now = now.Add(15 * time.Second)
	if got, ok := c.get("a"); ok || c.bytes != 0 || c.len() != 0 {
		t.Errorf("after 20 s: %v, %d bytes", got, c.bytes)
	}
	m.Answer = []wire.RR{parse(t, "www.example.com. 86400 A 192.0.2.1")}
	c.put("a", m)
	if now = now.Add(30 * time.Second); c.entries["a"].expires.After(now) {
		t.Error("kept for longer than the bound")
	}
}

func TestCacheBounds(t *testing.T) {
	c := newCache(Config{CacheEntries: 100, CacheBytes: 5000, MaxTTL: time.Minute})
	for i := range 1000 {
		m := new(wire.Msg).SetQuestion("www.example.com.", wire.TypeTXT)
		m.Answer = []wire.RR{&wire.TXT{Hdr: wire.RR_Header{Name: "www.example.com.", Rrtype: wire.TypeTXT, Class: 1, Ttl: 60}, Txt: make([]string, i%90)}}
		c.put(fmt.Sprint(i%300), m)
		sum := 0
		for _, e := range c.entries {
			sum += e.size
		}
		if c.len() > 100 || c.bytes > 5000 || sum != c.bytes {
			t.Fatalf("after %d: %d entries, %d bytes, really %d", i, c.len(), c.bytes, sum)
		}
	}
	if c.len() < 10 {
		t.Errorf("only %d entries are left", c.len())
	}
}
