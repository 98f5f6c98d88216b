package forward

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	wire "github.com/miekg/dns"
)

func parse(t testing.TB, text string) wire.RR {
	t.Helper()
	rr, err := wire.NewRR(text)
	if err != nil {
		t.Fatal(err)
	}
	return rr
}

// message makes a reply: records of the answer, then "--", then authority, then
// "--" and the additional section.
func message(t testing.TB, q Query, rcode int, records ...string) *wire.Msg {
	t.Helper()
	m := new(wire.Msg)
	m.SetQuestion(q.Name, q.Type)
	m.Response, m.Rcode = true, rcode
	sections, at := []*[]wire.RR{&m.Answer, &m.Ns, &m.Extra}, 0
	for _, text := range records {
		if text == "--" {
			at++
			continue
		}
		*sections[at] = append(*sections[at], parse(t, text))
	}
	return m
}

const soa = "example.com. 300 SOA a. b. 1 2 3 4 7"

func TestLifetime(t *testing.T) {
	for name, c := range map[string]struct {
		rcode   int
		records []string
		kind    kind
		want    time.Duration
	}{
		"smallest TTL":      {0, []string{"www.example.com. 60 A 192.0.2.1", "www.example.com. 20 A 192.0.2.2"}, success, 20 * time.Second},
		"additional":        {0, []string{"www.example.com. 60 A 192.0.2.1", "--", "--", "a.example.com. 10 A 192.0.2.2"}, success, 10 * time.Second},
		"TTL zero":          {0, []string{"www.example.com. 0 A 192.0.2.1"}, success, 0},
		"TTL of 2^31":       {0, []string{"www.example.com. 2147483648 A 192.0.2.1"}, success, 0},
		"NXDOMAIN":          {3, []string{"--", soa}, denial, 7 * time.Second},
		"NXDOMAIN, SOA TTL": {3, []string{"--", "example.com. 5 SOA a. b. 1 2 3 4 700"}, denial, 5 * time.Second},
		"NODATA":            {0, []string{"--", soa}, denial, 7 * time.Second},
		"no SOA":            {3, nil, denial, -1},
		"referral":          {0, []string{"--", "example.com. 60 NS ns.example.com."}, denial, -1},
		"alias to nothing":  {0, []string{"www.example.com. 60 CNAME x.example.com."}, denial, -1},
		"alias, NODATA":     {0, []string{"www.example.com. 60 CNAME x.example.com.", "--", soa}, denial, 7 * time.Second},
		"SERVFAIL":          {2, nil, denial, 0},
		"REFUSED":           {5, nil, denial, -1},
		"REFUSED, SOA":      {5, []string{"--", soa}, denial, -1},
	} {
		m := message(t, a("www.example.com."), c.rcode, c.records...)
		m.SetEdns0(1232, false) // whose TTL is none
		if kind, got := lifetime(m); got != c.want || kind != c.kind {
			t.Errorf("%s: %s %s, want %s %s", name, kind, got, c.kind, c.want)
		}
		if c.rcode == 3 && c.want >= 0 && time.Duration(m.Ns[0].Header().Ttl)*time.Second != c.want {
			t.Errorf("%s: the SOA is given with TTL %d", name, m.Ns[0].Header().Ttl)
		}
	}
}

// kept is a cache with a clock that tests move.
type kept struct {
	*cache
	t   testing.TB
	now int64
}

func newKept(t testing.TB, config Cache) *kept {
	t.Helper()
	config, err := config.complete()
	if err != nil {
		t.Fatal(err)
	}
	return &kept{cache: newCache(config, new(cacheCounts)), t: t, now: 1}
}

func (k *kept) add(q Query, m *wire.Msg) {
	k.t.Helper()
	key, err := q.key()
	if err != nil {
		k.t.Fatal(err)
	}
	k.put(key, q.Name, m, k.now)
}

// get returns the records of a reply as text, or nothing.
func (k *kept) get(q Query) string {
	k.t.Helper()
	key, err := q.key()
	if err != nil {
		k.t.Fatal(err)
	}
	e := k.find(key, k.now)
	if e == nil {
		return ""
	}
	m, err := k.packed(e, k.now).unpack()
	if err != nil {
		k.t.Fatal(err)
	}
	if m.Question[0].Name != wire.CanonicalName(q.Name) || m.Question[0].Qtype != q.Type {
		k.t.Errorf("%+v: the question is %s", q, m.Question[0].String())
	}
	text := []string{wire.RcodeToString[m.Rcode]}
	for _, section := range [][]wire.RR{m.Answer, m.Ns, m.Extra} {
		for _, rr := range section {
			text = append(text, strings.Join(strings.Fields(rr.String()), " "))
		}
	}
	return strings.Join(text, "; ")
}

func TestCacheAges(t *testing.T) {
	q := a("www.Example.com.")
	for _, c := range []struct {
		config  Cache
		rcode   int
		records string
		after   time.Duration
		want    string
	}{
		{Cache{}, 0, "wWw.example.com. 20 A 192.0.2.1", 0, "NOERROR; www.example.com. 20 IN A 192.0.2.1"},
		{Cache{}, 0, "www.example.com. 20 A 192.0.2.1", 5999 * time.Millisecond, "NOERROR; www.example.com. 15 IN A 192.0.2.1"},
		{Cache{}, 0, "www.example.com. 20 A 192.0.2.1", 20 * time.Second, ""},
		{Cache{KeepTTL: true}, 0, "www.example.com. 20 A 192.0.2.1", 19 * time.Second, "NOERROR; www.example.com. 20 IN A 192.0.2.1"},
		{Cache{}, 0, "www.example.com. 86400 A 192.0.2.1", 29 * time.Second, "NOERROR; www.example.com. 1 IN A 192.0.2.1"},
		{Cache{}, 0, "www.example.com. 86400 A 192.0.2.1", 30 * time.Second, ""},
		{Cache{Success: Share{MaxTTL: time.Hour}}, 0, "www.example.com. 86400 A 192.0.2.1", time.Hour - 1, "NOERROR; www.example.com. 1 IN A 192.0.2.1"},
		{Cache{Success: Share{MinTTL: 5 * time.Second}}, 0, "www.example.com. 0 A 192.0.2.1", 4 * time.Second, "NOERROR; www.example.com. 1 IN A 192.0.2.1"},
		{Cache{Denial: Share{MinTTL: 5 * time.Second}}, 0, "www.example.com. 0 A 192.0.2.1", 0, ""},
		{Cache{}, 3, soa, 6 * time.Second, "NXDOMAIN; example.com. 1 IN SOA a. b. 1 2 3 4 7"},
		{Cache{}, 3, soa, 7 * time.Second, ""},
		{Cache{Denial: Share{MaxTTL: 3 * time.Second}}, 0, soa, 2 * time.Second, "NOERROR; example.com. 1 IN SOA a. b. 1 2 3 4 7"},
		{Cache{}, 2, "", 999 * time.Millisecond, "SERVFAIL"},
		{Cache{}, 2, "", time.Second, ""},
		{Cache{FailureTTL: 10 * time.Second}, 2, "", 9 * time.Second, "SERVFAIL"},
		{Cache{FailureTTL: -1}, 2, "", 0, ""},
		{Cache{Disabled: true}, 0, "www.example.com. 20 A 192.0.2.1", 0, ""},
		{Cache{NoSuccess: []string{"example.com"}}, 0, "www.example.com. 20 A 192.0.2.1", 0, ""},
		{Cache{NoDenial: []string{"example.com"}}, 0, "www.example.com. 20 A 192.0.2.1", 0, "NOERROR; www.example.com. 20 IN A 192.0.2.1"},
		{Cache{NoDenial: []string{"."}}, 3, soa, 0, ""},
		{Cache{Zones: []string{"example.org", "xample.com"}}, 0, "www.example.com. 20 A 192.0.2.1", 0, ""},
		{Cache{Stale: Stale{For: time.Hour}}, 0, "www.example.com. 20 A 192.0.2.1", time.Hour, "NOERROR; www.example.com. 0 IN A 192.0.2.1"},
		{Cache{Stale: Stale{For: time.Hour, TTL: 30 * time.Second}}, 3, soa, time.Hour, "NXDOMAIN; example.com. 30 IN SOA a. b. 1 2 3 4 7"},
		{Cache{Stale: Stale{For: time.Hour}}, 0, "www.example.com. 20 A 192.0.2.1", time.Hour + 20*time.Second, ""},
		{Cache{Stale: Stale{For: time.Hour}}, 2, "", time.Second, ""},
	} {
		k := newKept(t, c.config)
		records := []string{c.records}
		if c.rcode == 2 {
			records = nil
		} else if c.records == soa {
			records = []string{"--", soa}
		}
		k.add(q, message(t, q, c.rcode, records...))
		k.now += int64(c.after)
		if got := k.get(q); got != c.want {
			t.Errorf("%+v: %q after %s is %q, want %q", c.config, c.records, c.after, got, c.want)
		}
	}
}

// TestCacheReplaces expects an answer and a denial of the same question not to
// stand side by side, and a failure to leave them alone.
func TestCacheReplaces(t *testing.T) {
	k := newKept(t, Cache{})
	q := a("www.example.com.")
	answer := func() *wire.Msg { return message(t, q, 0, "www.example.com. 20 A 192.0.2.1") }
	k.add(q, answer())
	k.add(q, message(t, q, 3, "--", soa))
	if got := k.get(q); !strings.HasPrefix(got, "NXDOMAIN") || k.tables[success].count.Load() != 0 {
		t.Errorf("%s, %d answers", got, k.tables[success].count.Load())
	}
	k.add(q, answer())
	if got := k.get(q); !strings.HasPrefix(got, "NOERROR") || k.tables[denial].count.Load() != 0 || k.tables[denial].bytes.Load() != 0 {
		t.Errorf("%s, %d denials", got, k.tables[denial].count.Load())
	}
	k.add(q, message(t, q, 2))
	if got := k.get(q); !strings.HasPrefix(got, "NOERROR") {
		t.Error(got)
	}
	key, _ := q.key()
	k.hit(k.find(key, k.now), k.now)
	if k.add(q, answer()); k.find(key, k.now).used.Load() == 0 {
		t.Error("a reply that was asked for again counts as one that nobody has used")
	}
	for _, other := range []Query{
		a("ww.example.com."), {Name: q.Name, Type: wire.TypeAAAA, Class: q.Class}, {Name: q.Name, Type: q.Type, Class: wire.ClassCHAOS},
		{Name: q.Name, Type: q.Type, Class: q.Class, DO: true}, {Name: q.Name, Type: q.Type, Class: q.Class, CD: true},
	} {
		if k.get(other) != "" {
			t.Errorf("%+v has the same answer", other)
		}
	}
}

// TestCacheBounds fills the cache with far more than it holds and expects its
// own count to be right and within bounds, for each kind by itself.
func TestCacheBounds(t *testing.T) {
	k := newKept(t, Cache{Success: Share{Entries: 100}, Denial: Share{Entries: 10}, Bytes: 12_000})
	for i := range 3000 {
		q := Query{Name: fmt.Sprintf("n%d.example.com.", i%1000), Type: wire.TypeTXT, Class: 1}
		m := message(t, q, 3, "--", soa)
		if i%3 > 0 {
			m = message(t, q, 0)
			m.Answer = []wire.RR{&wire.TXT{Hdr: wire.RR_Header{Name: q.Name, Rrtype: wire.TypeTXT, Class: 1, Ttl: 60}, Txt: make([]string, i%90+1)}}
		}
		k.add(q, m)
		total := int64(0)
		for kind, table := range k.tables {
			count, bytes := int64(0), int64(0)
			for s := range table.sets {
				for e := range table.sets[s].entries {
					if e := table.sets[s].entries[e].Load(); e != nil {
						count, bytes = count+1, bytes+int64(e.size())
					}
				}
			}
			if count != table.count.Load() || bytes != table.bytes.Load() || count > table.capacity {
				t.Fatalf("after %d, kind %d: %d entries, %d bytes; counted are %d, %d", i, kind, count, bytes, table.count.Load(), table.bytes.Load())
			}
			total += bytes
		}
		if total > 12_000 {
			t.Fatalf("after %d: %d bytes", i, total)
		}
	}
	if k.tables[success].count.Load() < 20 || k.tables[denial].count.Load() < 5 {
		t.Errorf("%d and %d entries are left", k.tables[success].count.Load(), k.tables[denial].count.Load())
	}
}

// TestCacheSizes: a reply that is too large takes nobody's place, and what there is too
// much of makes room.
func TestCacheSizes(t *testing.T) {
	k := newKept(t, Cache{Bytes: 20_000})
	text := func(q Query, bytes int) *wire.Msg {
		m := message(t, q, 0)
		m.Answer = []wire.RR{&wire.TXT{Hdr: wire.RR_Header{Name: q.Name, Rrtype: wire.TypeTXT, Class: 1, Ttl: 60}, Txt: slices.Repeat([]string{strings.Repeat("x", 249)}, bytes/250)}}
		return m
	}
	small, large := Query{Name: "small.", Type: wire.TypeTXT, Class: 1}, Query{Name: "large.", Type: wire.TypeTXT, Class: 1}
	k.add(small, text(small, 250))
	if k.add(large, text(large, maxCached+250)); k.get(large) != "" || k.get(small) == "" {
		t.Error("a reply above 8 kB is kept")
	}
	if k.add(large, text(large, maxCached-500)); k.get(large) == "" || k.get(small) == "" {
		t.Error("a reply below 8 kB is not kept")
	}
	for i := range 200 {
		q := a(fmt.Sprintf("n%d.example.com.", i))
		k.add(q, message(t, q, 3, "--", soa))
	}
	if k.get(large) == "" || k.tables[success].bytes.Load()+k.tables[denial].bytes.Load() > 20_000 {
		t.Error("many denials make answers go")
	}
	k = newKept(t, Cache{Bytes: 3000})
	k.add(small, text(small, 250))
	if k.add(large, text(large, 4000)); k.get(large) != "" || k.get(small) == "" {
		t.Error("a reply that is larger than the cache takes its place")
	}
}

// TestCacheKeepsWhatIsUsed expects names that are asked for to outlive a stream
// of names that are asked for once.
func TestCacheKeepsWhatIsUsed(t *testing.T) {
	k := newKept(t, Cache{Success: Share{Entries: 400}})
	add := func(name string) {
		q := a(name)
		k.add(q, message(t, q, 0, name+" 30 A 192.0.2.1"))
	}
	for i := range 40 {
		add(fmt.Sprintf("popular%d.example.com.", i))
	}
	kept := 0
	for i := range 4000 {
		add(fmt.Sprintf("once%d.example.com.", i))
		key, _ := a(fmt.Sprintf("popular%d.example.com.", i%40)).key()
		if e := k.find(key, k.now); e != nil {
			k.hit(e, k.now)
		}
	}
	for i := range 40 {
		name := fmt.Sprintf("popular%d.example.com.", i)
		if k.get(a(name)) == "" {
			continue
		}
		kept++
		// A mark stays when the reply is replaced, once it has expired, say.
		key, _ := a(name).key()
		k.hit(k.find(key, k.now), k.now)
		add(name)
		if k.find(key, k.now).used.Load() == 0 {
			t.Errorf("%s: a newer reply counts as one that nobody has asked for", name)
		}
	}
	if kept < 36 {
		t.Errorf("of 40 popular names %d are left", kept)
	}
}

// TestPacked expects records to be given as they were put in, whatever types
// they are of, with the question's spelling, and addresses to be rotated.
func TestPacked(t *testing.T) {
	q := Query{Name: "www.example.com.", Type: wire.TypeANY, Class: 1}
	records := []string{
		"www.example.com. 30 SRV 1 2 3 www.example.com.", "www.example.com. 29 TXT \"a\" \"\"", "www.example.com. 28 MX 10 mail.www.example.com.",
		"www.example.com. 27 TYPE65280 \\# 3 010203", "www.example.com. 26 A 192.0.2.1", "www.example.com. 26 A 192.0.2.2", "www.example.com. 26 A 192.0.2.3",
		"--", "com. 25 NS ns.www.example.com.", "--", "ns.www.example.com. 24 AAAA 2001:db8::1",
	}
	k := newKept(t, Cache{})
	k.add(q, message(t, q, 0, records...))
	key, _ := q.key()
	e := k.find(key, k.now)
	if e == nil {
		t.Fatal("not kept")
	}
	question := []byte("\x12\x34\x81\x80\x00\x01\x00\x07\x00\x01\x00\x01\x03WwW\x07eXample\x03com\x00\x00\xff\x00\x01")
	for turn, first := range []string{"192.0.2.1", "192.0.2.3", "192.0.2.2", "192.0.2.1"} {
		m := new(wire.Msg)
		p := k.packed(e, k.now)
		if err := m.Unpack(p.AppendTo(slices.Clone(question), uint32(turn))); err != nil {
			t.Fatal(err)
		}
		if x, y, z := p.Counts(); x != 7 || y != 1 || z != 1 {
			t.Error(x, y, z)
		}
		var addresses []string
		for i, rr := range slices.Concat(m.Answer, m.Ns, m.Extra) {
			if i < 7 && rr.Header().Name != "WwW.eXample.com." {
				t.Errorf("not the question's spelling: %s", rr)
			}
			if one, ok := rr.(*wire.A); ok {
				addresses = append(addresses, one.A.String())
				continue
			}
			want := parse(t, slices.DeleteFunc(slices.Clone(records), func(r string) bool { return r == "--" })[i])
			if !strings.EqualFold(rr.String(), want.String()) {
				t.Errorf("%s\nwant %s", rr, want)
			}
		}
		if len(addresses) != 3 || addresses[0] != first || len(slices.Compact(slices.Sorted(slices.Values(addresses)))) != 3 {
			t.Errorf("turn %d: %v", turn, addresses)
		}
	}
}

func TestBadCache(t *testing.T) {
	for want, c := range map[string]Cache{
		"cache success: -1 replies":           {Success: Share{Entries: -1}},
		"cache denial: TTLs must lie":         {Denial: Share{MaxTTL: -1}},
		"the least TTL, 1m0s, is above":       {Denial: Share{MinTTL: time.Minute}},
		"size in bytes must not be negative":  {Bytes: -1},
		"failures kept for 6m0s":              {FailureTTL: 6 * time.Minute},
		"1 to 90 percent, not 1 and 91":       {Prefetch: Prefetch{Amount: 1, Percentage: 91}},
		"at most 168h0m0s beyond their TTL":   {Stale: Stale{For: 200 * time.Hour}},
		"failures rechecked after at most 5m": {Stale: Stale{Recheck: time.Hour}},
		`"a..b" is not a DNS name`:            {NoDenial: []string{"a..b"}},
	} {
		if _, err := New(Config{Cache: c}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", c, err, want)
		}
	}
}
