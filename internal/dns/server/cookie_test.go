package server

import (
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	wire "github.com/miekg/dns"
)

func withCookie(m *wire.Msg, text string) *wire.Msg {
	m.SetEdns0(1232, false)
	m.IsEdns0().Option = []wire.EDNS0{&wire.EDNS0_COOKIE{Code: wire.EDNS0COOKIE, Cookie: text}}
	return m
}

// cookieOf returns the cookie of a reply, or "".
func cookieOf(m *wire.Msg) string {
	if opt := m.IsEdns0(); opt != nil {
		for _, option := range opt.Option {
			if c, ok := option.(*wire.EDNS0_COOKIE); ok {
				return c.Cookie
			}
		}
	}
	return ""
}

// TestCookieSum compares server cookies with the examples of RFC 9018,
// appendix A.
func TestCookieSum(t *testing.T) {
	for _, c := range []struct {
		client, address, secret string
		seconds                 uint32
		want                    string
	}{
		{"2464c4abcf10c957", "198.51.100.100", "e5e973e5a6b2a43f48e7dc849e37bfcf", 1559731985, "010000005cf79f111f8130c3eee29480"},
		{"22681ab97d52c298", "2001:db8:220:1:59de:d0f4:8769:82b8", "dd3bdf9344b678b185a6f5cb60fca715", 1559741817, "010000005cf7c57926556bd0934c72f8"},
	} {
		data, _ := hex.DecodeString(c.client)
		key, _ := hex.DecodeString(c.secret)
		sent, ok := readCookie(data)
		if !ok {
			t.Fatal("not read")
		}
		got := sent.sum([2]uint64{binary.LittleEndian.Uint64(key), binary.LittleEndian.Uint64(key[8:])}, netip.MustParseAddr(c.address), c.seconds)
		if hex.EncodeToString(got[:]) != c.want {
			t.Errorf("%s: got %x, want %s", c.address, got, c.want)
		}
	}
}

// TestCookieLife follows a cookie through its life and two changes of secrets.
func TestCookieLife(t *testing.T) {
	c, address, now := newCookies(), netip.MustParseAddr("192.0.2.1"), time.Unix(1<<32-100, 0) // the counter of seconds overflows
	sent, _ := readCookie([]byte("\x01\x02\x03\x04\x05\x06\x07\x08"))
	if _, ok := c.valid(&sent, address, now); ok {
		t.Fatal("no server cookie is valid")
	}
	data := c.answer(&sent, address, now)
	sent, _ = readCookie(data[:])
	check := func(after time.Duration, from string, want bool) {
		t.Helper()
		if _, ok := c.valid(&sent, netip.MustParseAddr(from), now.Add(after)); ok != want {
			t.Errorf("after %s from %s: valid %t", after, from, ok)
		}
	}
	check(0, "192.0.2.1", true)
	check(0, "::ffff:192.0.2.1", true)
	check(0, "192.0.2.2", false)
	check(0, "2001:db8::1", false)
	check(time.Hour, "192.0.2.1", true)
	check(time.Hour+time.Second, "192.0.2.1", false)
	check(-5*time.Minute, "192.0.2.1", true)
	check(-5*time.Minute-time.Second, "192.0.2.1", false)
	if c.answer(&sent, address, now.Add(20*time.Minute)) != data {
		t.Error("a fresh cookie is replaced")
	}
	if c.answer(&sent, address, now.Add(40*time.Minute)) == data {
		t.Error("an old cookie is not replaced")
	}
	c.rotate()
	check(0, "192.0.2.1", true)
	c.rotate()
	check(0, "192.0.2.1", false)
}

// TestTwoCookies expects a query with two cookies to be refused, whatever they are.
func TestTwoCookies(t *testing.T) {
	_, at := start(t, Config{}, cluster(t, 0))
	m := withCookie(query("web.shop.svc.cluster.local.", wire.TypeA), "0102030405060708")
	m.IsEdns0().Option = append(m.IsEdns0().Option, m.IsEdns0().Option[0])
	expect(t, ask(t, "udp", at, m), wire.RcodeFormatError)
}

// TestSecrets expects secrets that nobody can guess, a new one every hour.
func TestSecrets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCookies()
		go c.run(t.Context())
		seen := map[[2]uint64]bool{{}: true}
		for hour := range 5 {
			known := *c.secrets.Load()
			if seen[known.current] || hour > 0 && !seen[known.previous] {
				t.Errorf("after %d hours: %x", hour, known)
			}
			seen[known.current], seen[known.previous] = true, true
			time.Sleep(cookieAge)
			synctest.Wait()
		}
	})
}

// TestCookies expects replies of every way through the server to carry a cookie
// that is good for the next query, and malformed ones to be refused.
func TestCookies(t *testing.T) {
	_, at := start(t, Config{}, cluster(t, 0))
	for _, network := range []string{"udp", "tcp"} {
		for _, name := range []string{"web.shop.svc.cluster.local.", "nope.shop.svc.cluster.local.", "dns-version.cluster.local.", "www.example.com."} {
			const mine = "0102030405060708"
			got := cookieOf(ask(t, network, at, withCookie(query(name, wire.TypeA), mine)))
			if len(got) != 2*(clientCookie+serverCookie) || got[:16] != mine {
				t.Fatalf("%s over %s: cookie %q", name, network, got)
			}
			if again := cookieOf(ask(t, network, at, withCookie(query(name, wire.TypeA), got))); again != got {
				t.Errorf("%s over %s: cookie %q became %q", name, network, got, again)
			}
		}
	}
	for _, text := range []string{"", "01", "010203040506070809", "0102030405060708" + "01020304050607", strings.Repeat("01", clientCookie+maxServerCookie+1)} {
		expect(t, ask(t, "udp", at, withCookie(query("web.shop.svc.cluster.local.", wire.TypeA), text)), wire.RcodeFormatError)
	}
}
