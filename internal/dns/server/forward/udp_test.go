package forward

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"

	wire "github.com/miekg/dns"
)

// TestPortsAndIDs: every query comes from another port with another ID; neither
// follows from the one before.
func TestPortsAndIDs(t *testing.T) {
	var mu sync.Mutex
	var ports, ids []int
	up := serve(t, "127.0.0.33:0", func(w wire.ResponseWriter, m *wire.Msg) {
		mu.Lock()
		defer mu.Unlock()
		ports, ids = append(ports, w.RemoteAddr().(*net.UDPAddr).Port), append(ids, int(m.Id))
		w.WriteMsg(reply(m, 60, "192.0.2.33"))
	})
	f := forwarder(t, Config{Upstreams: []netip.AddrPort{up}})
	for i := range 200 {
		f.Exchange(t.Context(), a(fmt.Sprintf("n%d.example.", i)))
	}
	mu.Lock()
	defer mu.Unlock()
	for name, list := range map[string][]int{"ports": ports, "IDs": ids} {
		different, near := map[int]bool{}, 0
		for i, n := range list {
			different[n] = true
			if i > 0 && n-list[i-1] < 16 && list[i-1]-n < 16 {
				near++
			}
		}
		if len(list) != 200 || len(different) < 190 || near > 10 {
			t.Errorf("%s: %d, %d different, %d near the one before", name, len(list), len(different), near)
		}
	}
}

// TestMessage holds the form of queries.
func TestMessage(t *testing.T) {
	for _, q := range []Query{
		{Name: "a.", Type: wire.TypeA, Class: 1}, {Name: "A.b.", Type: wire.TypeAAAA, Class: 3, DO: true},
		{Name: "a.", Type: wire.TypeA, Class: 1, CD: true}, {Name: "a.", Type: wire.TypeNS, Class: 1, noRecursion: true},
	} {
		m := q.message()
		want := wire.Msg{MsgHdr: wire.MsgHdr{Id: m.Id, RecursionDesired: !q.noRecursion, CheckingDisabled: q.CD}, Question: []wire.Question{{Name: q.Name, Qtype: q.Type, Qclass: q.Class}}}
		if want.SetEdns0(1232, q.DO); m.String() != want.String() {
			t.Errorf("%+v: got\n%s\nwant\n%s", q, m, &want)
		}
	}
}

// TestOtherSource: what comes from elsewhere to the port of a query does not
// count, even if it guesses everything else.
func TestOtherSource(t *testing.T) {
	other, err := net.ListenPacket("udp", "127.0.0.34:0")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	up := serve(t, "127.0.0.33:0", func(w wire.ResponseWriter, m *wire.Msg) {
		forged, _ := reply(m, 60, "203.0.113.66").Pack()
		for range 20 {
			other.WriteTo(forged, w.RemoteAddr())
		}
		w.WriteMsg(reply(m, 60, "192.0.2.33"))
	})
	f := forwarder(t, Config{Upstreams: []netip.AddrPort{up}})
	if got := address(f.Exchange(t.Context(), a("www.example."))); got != "192.0.2.33" {
		t.Error(got)
	}
	if text := f.Describe()[0]; strings.Contains(text, "answered no query") {
		t.Error("they reached the query: " + text)
	}
}

// TestOversized: replies by UDP that are larger than allowed are taken; those
// that are cut off within are asked for by TCP.
func TestOversized(t *testing.T) {
	large := func(m *wire.Msg, address string) *wire.Msg {
		r := reply(m, 60, address)
		for i := range 300 {
			r.Answer = append(r.Answer, parse(t, fmt.Sprintf("%s 60 A 10.0.%d.%d", m.Question[0].Name, i/200, i%200)))
		}
		r.Compress = true
		return r
	}
	up := serve(t, "127.0.0.35:0", func(w wire.ResponseWriter, m *wire.Msg) {
		r := large(m, map[string]string{"udp": "192.0.2.35", "tcp": "192.0.2.36"}[w.RemoteAddr().Network()])
		packed, err := r.Pack()
		if err != nil {
			t.Error(err)
		}
		if strings.HasPrefix(m.Question[0].Name, "forged") && w.RemoteAddr().Network() == "udp" {
			// Neither can be read; only the ID is not the query's.
			forged := bytes.Clone(packed[:len(packed)-700])
			forged[0]++
			w.Write(forged)
		}
		if strings.HasPrefix(m.Question[0].Name, "cut") && w.RemoteAddr().Network() == "udp" {
			packed = packed[:len(packed)-700]
		}
		w.Write(packed)
	})
	f := forwarder(t, Config{Upstreams: []netip.AddrPort{up}})
	for name, want := range map[string]string{"whole.example.": "192.0.2.35", "forged.example.": "192.0.2.35", "cut.example.": "192.0.2.36"} {
		m, err := f.Exchange(t.Context(), a(name))
		if got := address(m, err); got != want || len(m.Answer) != 301 {
			t.Errorf("%s: %s", name, got)
		}
		if m, ok := f.Cached(a(name)); !ok || len(m.Answer) != 301 {
			t.Errorf("%s is not kept whole: %v", name, m)
		}
	}
}

// TestRandomCase: names are spelt at random; a reply in another spelling is not
// believed by UDP, and accepted from a server that is found to respell by TCP.
func TestRandomCase(t *testing.T) {
	zone := func(at netip.AddrPort) Config {
		return Config{Zones: []Zone{{Name: ".", RandomCase: true, Servers: []Server{{Address: at}}}}}
	}
	name := strings.Repeat("abcdefgh.", 5) + "example."
	var mu sync.Mutex
	spelt := map[string]bool{}
	keeps := serve(t, "127.0.0.36:0", func(w wire.ResponseWriter, m *wire.Msg) {
		mu.Lock()
		spelt[m.Question[0].Name] = true
		mu.Unlock()
		forged := reply(m, 60, "203.0.113.66")
		forged.Question[0].Name = name
		if w.RemoteAddr().Network() == "udp" {
			w.WriteMsg(forged)
		}
		w.WriteMsg(reply(m, 60, "192.0.2.36"))
	})
	f := forwarder(t, zone(keeps))
	for i := range 10 {
		q := a(name)
		q.CD = i%2 == 1
		q.DO = i > 5
		m, err := f.Exchange(t.Context(), q)
		if got := address(m, err); got != "192.0.2.36" {
			t.Error(got)
		}
	}
	mu.Lock()
	if spelt[name] || len(spelt) < 3 {
		t.Errorf("spelt %v", spelt)
	}
	mu.Unlock()
	if text := f.Describe()[0]; strings.Contains(text, "case of letters") || !strings.Contains(text, "answered no query") {
		t.Error(text)
	}
	lowers := serve(t, "127.0.0.36:0", func(w wire.ResponseWriter, m *wire.Msg) {
		m.Question[0].Name = strings.ToLower(m.Question[0].Name)
		for range maxForeign {
			w.WriteMsg(reply(m, 60, "192.0.2.37"))
		}
	})
	f = forwarder(t, zone(lowers))
	for i := range 2 {
		if got := address(f.Exchange(t.Context(), a(fmt.Sprint("www", i, ".example.")))); got != "192.0.2.37" {
			t.Error(got)
		}
		if text := f.Describe()[0]; !strings.Contains(text, "does not keep the case of letters") {
			t.Error(text)
		}
	}
}
