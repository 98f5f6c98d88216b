package forward

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	wire "github.com/miekg/dns"
)

// manyAliases is one alias after the other, up to the last one that is followed.
func manyAliases() []string {
	records := []string{"www.example.com. 1 CNAME n1.example."}
	for i := 1; i <= 16; i++ {
		records = append(records, fmt.Sprintf("n%d.example. 1 CNAME n%d.example.", i, i+1))
	}
	return append(records, "- n17.example. 1 A 192.0.2.1")
}

// TestScrub holds which records of a reply to www.example.com are left; those
// that must go are marked with "- ".
func TestScrub(t *testing.T) {
	for name, c := range map[string]struct {
		qtype   uint16
		do      bool
		records []string
	}{
		"plain": {qtype: wire.TypeA, records: []string{"WWW.example.com. 1 A 192.0.2.1", "- victim.example. 1 A 192.0.2.66", "- www.example.com. 1 AAAA ::1", "- www.example.com. 1 CH A 192.0.2.1"}},
		"aliases": {qtype: wire.TypeA, records: []string{
			"a.example.net. 1 CNAME b.example.net.", "www.example.com. 1 CNAME a.example.net.", "b.example.net. 1 A 192.0.2.1", "- c.example.net. 1 A 192.0.2.66", "- c.example.net. 1 CNAME b.example.net.",
		}},
		"long":                    {qtype: wire.TypeA, records: manyAliases()},
		"other class":             {qtype: wire.TypeA, records: []string{"- www.example.com. 1 CH CNAME a.example.", "- a.example. 1 A 192.0.2.66", "--", "- com. 1 CH NS ns.example.", "com. 1 NS ns.example.", "--", "- ns.example. 1 CH A 192.0.2.66", "ns.example. 1 A 192.0.2.1"}},
		"denial of another class": {qtype: wire.TypeA, do: true, records: []string{"--", "- example.com. 1 CH SOA a. b. 1 2 3 4 5", "- wwv.example.com. 1 NSEC wwx.example.com. A"}},
		"denial elsewhere":        {qtype: wire.TypeA, do: true, records: []string{"--", "- victim.example. 1 SOA a. b. 1 2 3 4 5", "- a.victim.example. 1 NSEC c.victim.example. A"}},
		"signed address": {qtype: wire.TypeMX, do: true, records: []string{
			"www.example.com. 1 MX 1 m.example.", "--", "--", "m.example. 1 A 192.0.2.1", "m.example. 1 RRSIG A 8 2 1 20300101000000 20200101000000 1 example. AAAA",
		}},
		"signed address without DO": {qtype: wire.TypeMX, records: []string{
			"www.example.com. 1 MX 1 m.example.", "--", "--", "m.example. 1 A 192.0.2.1", "- m.example. 1 RRSIG A 8 2 1 20300101000000 20200101000000 1 example. AAAA",
		}},
		"loop":       {qtype: wire.TypeA, records: []string{"www.example.com. 1 CNAME a.example.", "a.example. 1 CNAME www.example.com.", "- b.example. 1 A 192.0.2.66"}},
		"alias kept": {qtype: wire.TypeCNAME, records: []string{"www.example.com. 1 CNAME a.example.", "- a.example. 1 CNAME b.example."}},
		"DNAME":      {qtype: wire.TypeA, records: []string{"example.com. 1 DNAME example.org.", "www.example.com. 1 CNAME www.example.org.", "www.example.org. 1 A 192.0.2.1", "- example.net. 1 DNAME example.org."}},
		"signed": {qtype: wire.TypeA, do: true, records: []string{
			"www.example.com. 1 A 192.0.2.1", "www.example.com. 1 RRSIG A 8 3 1 20300101000000 20200101000000 1 example.com. AAAA", "- www.example.com. 1 RRSIG TXT 8 3 1 20300101000000 20200101000000 1 example.com. AAAA",
		}},
		"denial": {qtype: wire.TypeA, do: true, records: []string{
			"--", "example.com. 1 SOA a. b. 1 2 3 4 5", "wwv.example.com. 1 NSEC wwx.example.com. A", "- a.example.net. 1 NSEC c.example.net. A", "- victim.example. 1 SOA a. b. 1 2 3 4 5", "- example.com. 1 A 192.0.2.66",
		}},
		"denial without DO": {qtype: wire.TypeA, records: []string{"--", "example.com. 1 SOA a. b. 1 2 3 4 5", "- wwv.example.com. 1 NSEC wwx.example.com. A"}},
		"authority":         {qtype: wire.TypeA, records: []string{"www.example.com. 1 A 192.0.2.1", "--", "com. 1 NS ns.example.", "- www.example.com. 1 A 192.0.2.66", "- example.net. 1 NS ns.example.", "--", "ns.example. 1 A 192.0.2.1", "- www.bank.example. 1 A 192.0.2.66"}},
		"services":          {qtype: wire.TypeSRV, records: []string{"www.example.com. 1 SRV 0 0 1 a.example.net.", "--", "--", "A.example.net. 1 A 192.0.2.1", "a.example.net. 1 AAAA ::1", "- a.example.net. 1 TXT x", "- b.example.net. 1 A 192.0.2.66"}},
		"HTTPS":             {qtype: wire.TypeHTTPS, records: []string{"www.example.com. 1 HTTPS 1 .", "--", "--", "www.example.com. 1 A 192.0.2.1"}},
		"any":               {qtype: wire.TypeANY, records: []string{"www.example.com. 1 TXT x", "www.example.com. 1 MX 1 m.example.", "- other.example. 1 TXT x", "--", "--", "m.example. 1 A 192.0.2.1"}},
	} {
		t.Run(name, func(t *testing.T) {
			expectScrubbed(t, Query{Name: "www.example.com.", Type: c.qtype, Class: 1, DO: c.do}, c.records)
		})
	}
}

// expectScrubbed has records taken from a reply that begin with a dash; "--" begins the
// next section.
func expectScrubbed(t *testing.T, q Query, records []string) {
	t.Helper()
	var all, want []string
	for _, r := range records {
		text, goes := strings.CutPrefix(r, "- ")
		all = append(all, text)
		if !goes && text != "--" {
			want = append(want, parse(t, text).String())
		}
	}
	m := message(t, q, 0, all...)
	before := len(m.Answer) + len(m.Ns) + len(m.Extra)
	removed := scrub(q, m)
	var got []string
	for _, rr := range slices.Concat(m.Answer, m.Ns, m.Extra) {
		got = append(got, rr.String())
	}
	if !slices.Equal(got, want) || removed != before-len(want) {
		t.Errorf("%d removed, left are\n%s\nwant\n%s", removed, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestPoison: what an upstream adds to a reply is neither passed on nor an
// answer to later questions.
func TestPoison(t *testing.T) {
	up := serve(t, "127.0.0.37:0", func(w wire.ResponseWriter, m *wire.Msg) {
		r := reply(m, 60, "192.0.2.37")
		bad := parse(t, "www.bank.example. 60 A 203.0.113.66")
		r.Answer, r.Ns, r.Extra = append(r.Answer, bad), append(r.Ns, bad), append(r.Extra, bad)
		w.WriteMsg(r)
	})
	f := forwarder(t, Config{Upstreams: []netip.AddrPort{up}})
	m, err := f.Exchange(t.Context(), a("www.example.com."))
	if err != nil || strings.Contains(m.String(), "bank") {
		t.Errorf("%v, %v", m, err)
	}
	if m, ok := f.Cached(a("www.example.com.")); !ok || strings.Contains(m.String(), "bank") {
		t.Errorf("%v", m)
	}
	if m, ok := f.Cached(a("www.bank.example.")); ok {
		t.Errorf("%v", m)
	}
	if n := gathered(t, f)["fairlead_dns_forward_removed_records_total{}"]; n != 3 {
		t.Errorf("%v records are counted as removed", n)
	}
}
