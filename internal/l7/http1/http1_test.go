package http1

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
)

// TestInPieces holds that it does not matter in which pieces a header comes, and that
// what is malformed is refused as soon as that is clear.
func TestInPieces(t *testing.T) {
	for _, whole := range seeds {
		var once Request
		n, err := once.Parse([]byte(whole), &wide)
		var r Request
		for i := 1; i <= len(whole); i++ {
			m, problem := r.Parse([]byte(whole[:i]), &wide)
			if m == 0 && problem == nil {
				continue
			}
			if m != n || (err == nil) != (problem == nil) {
				t.Errorf("%q: %d %v at once, %d %v after %d bytes", whole, n, err, m, problem, i)
			}
			break
		}
	}
}

// TestLimits holds that no header is kept beyond its limits, whether it ends or not.
func TestLimits(t *testing.T) {
	limits := Limits{Line: 100, Head: 1000, Fields: 10}
	for name, c := range map[string]struct {
		text   string
		status int
	}{
		"line that ends":    {"GET /" + strings.Repeat("a", 100) + " HTTP/1.1\r\nHost: a\r\n\r\n", 414},
		"line without end":  {"GET /" + strings.Repeat("a", 200), 414},
		"head that ends":    {"GET / HTTP/1.1\r\nHost: a\r\nA: " + strings.Repeat("a", 1000) + "\r\n\r\n", 431},
		"head without end":  {"GET / HTTP/1.1\r\nHost: a\r\nA: " + strings.Repeat("a", 1000), 431},
		"fields":            {"GET / HTTP/1.1\r\nHost: a\r\n" + strings.Repeat("A: b\r\n", 10) + "\r\n", 431},
		"no text of HTTP":   {strings.Repeat("\x00", 200), 414},
		"line feeds":        {"\n\n", 400},
		"as many as may be": {"GET / HTTP/1.1\r\nHost: a\r\n" + strings.Repeat("A: b\r\n", 9) + "\r\n", 0},
	} {
		var r Request
		_, err := r.Parse([]byte(c.text), &limits)
		var reason *Error
		if errors.As(err, &reason); c.status == 0 && err != nil || c.status != 0 && (reason == nil || reason.Status != c.status) {
			t.Errorf("%s: %v, want status %d", name, err, c.status)
		}
	}
}

func TestTrustedHop(t *testing.T) {
	trusted := func(a netip.Addr) bool { return netip.MustParsePrefix("10.0.0.0/8").Contains(a) }
	for _, c := range []struct{ peer, fields, want string }{
		{"192.0.2.1", "X-Forwarded-For: 203.0.113.1\r\nX-Forwarded-Proto: https\r\n",
			"X-Real-IP: 192.0.2.1|X-Forwarded-For: 192.0.2.1|X-Forwarded-Port: 80|X-Forwarded-Proto: http|X-Forwarded-Scheme: http|X-Scheme: http|X-Forwarded-Host: a"},
		{"10.0.0.1", "X-Forwarded-For: 203.0.113.1\r\nX-Forwarded-For: 10.0.0.2\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: b\r\n",
			"X-Forwarded-For: 203.0.113.1, 10.0.0.2, 10.0.0.1|X-Real-IP: 203.0.113.1|X-Forwarded-Host: b|X-Forwarded-Port: 80|X-Forwarded-Proto: https|X-Forwarded-Scheme: https|X-Scheme: https"},
		{"10.0.0.1", "X-Forwarded-For: 198.51.100.1, 203.0.113.1\r\nX-Forwarded-Proto: gopher\r\n",
			"X-Forwarded-For: 198.51.100.1, 203.0.113.1, 10.0.0.1|X-Real-IP: 203.0.113.1|X-Forwarded-Host: a|X-Forwarded-Port: 80|X-Forwarded-Proto: http|X-Forwarded-Scheme: http|X-Scheme: http"},
		{"10.0.0.1", "X-Forwarded-For: nonsense\r\n",
			"X-Forwarded-For: nonsense, 10.0.0.1|X-Real-IP: 10.0.0.1|X-Forwarded-Host: a|X-Forwarded-Port: 80|X-Forwarded-Proto: http|X-Forwarded-Scheme: http|X-Scheme: http"},
	} {
		var r Request
		if _, err := r.Parse([]byte("GET / HTTP/1.1\r\nHost: a\r\n"+c.fields+"\r\n"), &wide); err != nil {
			t.Fatal(err)
		}
		got := string(AppendRequest(nil, &r, NewHop(netip.MustParseAddr(c.peer), "http", 80, trusted), &Onward{ID: []byte("id")}))
		want := "GET / HTTP/1.1\r\nHost: a\r\nX-Request-ID: id\r\n" + strings.ReplaceAll(c.want, "|", "\r\n") + "\r\nCDN-Loop: fairlead\r\n\r\n"
		if got != want {
			t.Errorf("%s with %q:\n%s\nwant\n%s", c.peer, c.fields, got, want)
		}
	}
}

func TestHost(t *testing.T) {
	for sent, want := range map[string]string{
		"Shop.Example": "shop.example", "shop.example.": "shop.example", "shop.example:80": "shop.example",
		"[2001:DB8::1]:80": "[2001:db8::1]", "[::1]": "[::1]", "192.0.2.1": "192.0.2.1", "a_b": "a_b",
		"[::1": "", "[::1]x": "", "[1.2.3.4]": "", "[fe80::1%25eth0]": "", "a:": "", "a:0": "", "a:65536": "", "a:b": "", ":80": "", "a%41": "", "é": "",
		strings.Repeat("a", 256): "",
	} {
		var r Request
		_, err := r.Parse([]byte("GET / HTTP/1.1\r\nHost: "+sent+"\r\n\r\n"), &wide)
		if got := string(r.Host); (err == nil) != (want != "") || err == nil && got != want {
			t.Errorf("%q: %q %v, want %q", sent, got, err, want)
		}
	}
}

func TestParseAllocatesNothing(t *testing.T) {
	text := []byte(seeds[1])
	hop := NewHop(netip.MustParseAddr("192.0.2.1"), "http", 80, nil)
	var r Request
	out := make([]byte, 0, 4096)
	if n := testing.AllocsPerRun(100, func() {
		if _, err := r.Parse(text, &wide); err != nil {
			t.Fatal(err)
		}
		out = AppendRequest(out[:0], &r, hop, &Onward{ID: text[:4]})
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkParse(b *testing.B) {
	text := []byte("GET /path HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: bench\r\nAccept: */*\r\nCookie: a=b\r\n\r\n")
	hop := NewHop(netip.MustParseAddr("192.0.2.1"), "http", 80, nil)
	var r Request
	out := make([]byte, 0, 4096)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.Parse(text, &wide); err != nil {
			b.Fatal(err)
		}
		out = AppendRequest(out[:0], &r, hop, &Onward{ID: text[:4]})
	}
}

// TestEmptyLineAndFullBuffer holds that a header which fills the buffer together with
// the empty line before it is refused, not waited for.
func TestEmptyLineAndFullBuffer(t *testing.T) {
	limits := &Limits{Line: 100, Head: 1000, Fields: 10}
	text := "\r\nGET / HTTP/1.1\r\nA: " + strings.Repeat("a", 1000)
	var r Request
	if n, err := r.Parse([]byte(text[:999]), limits); n != 0 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if _, err := r.Parse([]byte(text[:1000]), limits); !errors.Is(err, errHead) {
		t.Errorf("error %v", err)
	}
}

// TestManyOptions holds that what Connection may cost is bounded, in requests and
// answers.
func TestManyOptions(t *testing.T) {
	for names, ok := range map[string]bool{
		strings.Repeat("a,", maxNamed): true, strings.Repeat("a,", maxNamed) + "b": false, strings.Repeat("close, ,", 100): true,
		strings.Repeat("a,", maxNamed) + "\r\nConnection: b": false,
	} {
		fields := "Host: a\r\nConnection: " + names + "\r\n\r\n"
		var request Request
		if _, err := request.Parse([]byte("GET / HTTP/1.1\r\n"+fields), &wide); (err == nil) != ok {
			t.Errorf("%.20s: request %v", names, err)
		}
		var response Response
		if _, err := response.Parse([]byte("HTTP/1.1 200 OK\r\n"+fields), &wide); (err == nil) != ok {
			t.Errorf("%.20s: response %v", names, err)
		}
	}
}
