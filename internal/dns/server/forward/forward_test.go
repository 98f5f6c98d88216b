package forward

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	wire "github.com/miekg/dns"
)

// serve runs a server on an address, which may be taken over from another
// one; port 0 stands for any. It serves UDP and TCP.
func serve(t testing.TB, address string, handler wire.HandlerFunc) netip.AddrPort {
	t.Helper()
	conn, err := net.ListenPacket("udp", address)
	if err != nil {
		t.Fatal(err)
	}
	at := conn.LocalAddr().(*net.UDPAddr).AddrPort()
	listener, err := net.Listen("tcp", at.String())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []*wire.Server{{PacketConn: conn, Handler: handler}, {Listener: listener, Handler: handler}} {
		started := make(chan struct{})
		s.NotifyStartedFunc = func() { close(started) }
		go s.ActivateAndServe()
		<-started
		t.Cleanup(func() { s.ShutdownContext(context.Background()) })
	}
	return at
}

// dead returns an address at which packets get lost.
func dead(t testing.TB) netip.AddrPort {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.21:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn.LocalAddr().(*net.UDPAddr).AddrPort()
}

func reply(m *wire.Msg, ttl uint32, address string) *wire.Msg {
	r := new(wire.Msg).SetReply(m)
	r.Answer = []wire.RR{&wire.A{Hdr: wire.RR_Header{Name: m.Question[0].Name, Rrtype: wire.TypeA, Class: 1, Ttl: ttl}, A: net.ParseIP(address)}}
	return r
}

func says(address string) wire.HandlerFunc {
	return func(w wire.ResponseWriter, m *wire.Msg) { w.WriteMsg(reply(m, 60, address)) }
}

func forwarder(t testing.TB, config Config) *Forwarder {
	t.Helper()
	f, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func a(name string) Query { return Query{Name: name, Type: wire.TypeA, Class: wire.ClassINET} }

func address(m *wire.Msg, err error) string {
	if err != nil {
		return err.Error()
	}
	if len(m.Answer) == 0 {
		return wire.RcodeToString[m.Rcode]
	}
	return m.Answer[0].(*wire.A).A.String()
}

// TestDeadUpstream expects an upstream that swallows packets to cost the first
// queries one patience, the rest nothing, and to be used again once it answers.
func TestDeadUpstream(t *testing.T) {
	gone := dead(t)
	f := forwarder(t, Config{Upstreams: []netip.AddrPort{gone, serve(t, "127.0.0.22:0", says("192.0.2.2"))}, Policy: Sequential, Patience: 500 * time.Millisecond})
	for i := range 5 {
		started := time.Now()
		got := address(f.Exchange(t.Context(), a(fmt.Sprintf("n%d.example.com.", i))))
		if took := time.Since(started); got != "192.0.2.2" || took > 900*time.Millisecond || (i > 0 && took > 400*time.Millisecond) {
			t.Errorf("query %d: %s after %s", i, got, took)
		}
	}
	if text := strings.Join(f.Describe(), "\n"); !strings.Contains(text, gone.String()+" owes an answer") {
		t.Error(text)
	}
	refused := netip.MustParseAddrPort("127.0.0.29:9")
	f = forwarder(t, Config{Upstreams: []netip.AddrPort{refused}})
	started := time.Now()
	if _, err := f.Exchange(t.Context(), a("www.example.com.")); err == nil || !strings.Contains(err.Error(), "refused") || time.Since(started) > time.Second {
		t.Errorf("%v after %s", err, time.Since(started))
	}
}

func TestUpstreamComesBack(t *testing.T) {
	var silent atomic.Bool
	silent.Store(true)
	back := serve(t, "127.0.0.23:0", func(w wire.ResponseWriter, m *wire.Msg) {
		if !silent.Load() {
			w.WriteMsg(reply(m, 60, "192.0.2.3"))
		}
	})
	f := forwarder(t, Config{Upstreams: []netip.AddrPort{back, serve(t, "127.0.0.22:0", says("192.0.2.2"))}, Policy: Sequential, Patience: 50 * time.Millisecond})
	go f.Run(t.Context())
	for i := range 3 {
		f.Exchange(t.Context(), a(fmt.Sprintf("n%d.example.com.", i)))
	}
	silent.Store(false)
	for i := range 100 {
		if address(f.Exchange(t.Context(), a(fmt.Sprintf("m%d.example.com.", i)))) == "192.0.2.3" {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Error("an upstream that answers again is not used")
}

// TestSlowUpstream expects the answer of an upstream that takes longer than
// patience to be used, for a name may be slow and not the server.
func TestSlowUpstream(t *testing.T) {
	slow := serve(t, "127.0.0.24:0", func(w wire.ResponseWriter, m *wire.Msg) {
		time.Sleep(300 * time.Millisecond)
		w.WriteMsg(reply(m, 60, "192.0.2.4"))
	})
	f := forwarder(t, Config{Upstreams: []netip.AddrPort{slow, dead(t)}, Policy: Sequential, Patience: 50 * time.Millisecond})
	if got := address(f.Exchange(t.Context(), a("www.example.com."))); got != "192.0.2.4" {
		t.Error(got)
	}
}

// TestForgedReplies expects replies to other queries to be passed over, and a
// flood of them to make the query go over TCP.
func TestForgedReplies(t *testing.T) {
	for name, forge := range map[string]func(*wire.Msg){
		"id":          func(m *wire.Msg) { m.Id++ },
		"name":        func(m *wire.Msg) { m.Question[0].Name = "evil.example.com." },
		"type":        func(m *wire.Msg) { m.Question[0].Qtype = wire.TypeAAAA },
		"class":       func(m *wire.Msg) { m.Question[0].Qclass = wire.ClassCHAOS },
		"no question": func(m *wire.Msg) { m.Question = nil },
		"two questions": func(m *wire.Msg) {
			m.Question = append(m.Question, wire.Question{Name: "evil.example.com.", Qtype: 1, Qclass: 1})
		},
		"opcode":   func(m *wire.Msg) { m.Opcode = wire.OpcodeNotify },
		"no reply": func(m *wire.Msg) { m.Response = false },
	} {
		for _, forged := range []int{1, 20} {
			up := serve(t, "127.0.0.25:0", func(w wire.ResponseWriter, m *wire.Msg) {
				if w.RemoteAddr().Network() == "udp" {
					for range forged {
						bad := reply(m, 60, "203.0.113.66")
						forge(bad)
						w.WriteMsg(bad)
					}
				}
				w.WriteMsg(reply(m, 60, "192.0.2.5"))
			})
			f := forwarder(t, Config{Upstreams: []netip.AddrPort{up}})
			if got := address(f.Exchange(t.Context(), a("www.example.com."))); got != "192.0.2.5" {
				t.Errorf("%d replies with another %s: %s", forged, name, got)
			}
			if !strings.Contains(strings.Join(f.Describe(), ""), "answered no query") {
				t.Errorf("not told: %v", f.Describe())
			}
		}
	}
}

func TestCaseOfReply(t *testing.T) {
	up := serve(t, "127.0.0.25:0", func(w wire.ResponseWriter, m *wire.Msg) {
		m.Question[0].Name = strings.ToLower(m.Question[0].Name)
		w.WriteMsg(reply(m, 60, "192.0.2.5"))
	})
	if got := address(forwarder(t, Config{Upstreams: []netip.AddrPort{up}}).Exchange(t.Context(), a("WwW.ExAmPlE.com."))); got != "192.0.2.5" {
		t.Error(got)
	}
}

func TestTruncated(t *testing.T) {
	up := serve(t, "127.0.0.26:0", func(w wire.ResponseWriter, m *wire.Msg) {
		r := reply(m, 60, "192.0.2.6")
		if w.RemoteAddr().Network() == "udp" {
			r.Answer, r.Truncated = nil, true
		}
		w.WriteMsg(r)
	})
	if got := address(forwarder(t, Config{Upstreams: []netip.AddrPort{up}}).Exchange(t.Context(), a("www.example.com."))); got != "192.0.2.6" {
		t.Error(got)
	}
}

// TestWorseReplies expects SERVFAIL and REFUSED to be given only if no other
// upstream knows better, and NXDOMAIN to be final.
func TestWorseReplies(t *testing.T) {
	code := func(rcode int) netip.AddrPort {
		return serve(t, "127.0.0.27:0", func(w wire.ResponseWriter, m *wire.Msg) { w.WriteMsg(new(wire.Msg).SetRcode(m, rcode)) })
	}
	servfail, refused, none, good := code(wire.RcodeServerFailure), code(wire.RcodeRefused), code(wire.RcodeNameError), serve(t, "127.0.0.27:0", says("192.0.2.7"))
	for want, upstreams := range map[string][]netip.AddrPort{
		"192.0.2.7": {servfail, refused, good},
		"NXDOMAIN":  {refused, none, good},
		"SERVFAIL":  {servfail, dead(t)},
		"REFUSED":   {refused},
	} {
		f := forwarder(t, Config{Upstreams: upstreams, Policy: Sequential, Patience: 50 * time.Millisecond})
		started := time.Now()
		if got := address(f.Exchange(t.Context(), a("www.example.com."))); got != want || time.Since(started) > time.Second {
			t.Errorf("got %s after %s, want %s", got, time.Since(started), want)
		}
	}
}

// TestCoalescing expects equal queries to be asked once, and each caller to get
// a message of its own.
func TestCoalescing(t *testing.T) {
	var asked atomic.Int32
	up := serve(t, "127.0.0.28:0", func(w wire.ResponseWriter, m *wire.Msg) {
		asked.Add(1)
		time.Sleep(100 * time.Millisecond)
		w.WriteMsg(reply(m, 60, "192.0.2.8"))
	})
	f := forwarder(t, Config{Upstreams: []netip.AddrPort{up}})
	var all sync.WaitGroup
	for i := range 50 {
		all.Go(func() {
			m, err := f.Exchange(t.Context(), a([]string{"www.example.com.", "WWW.example.com."}[i%2]))
			if got := address(m, err); got != "192.0.2.8" {
				t.Error(got)
				return
			}
			m.Answer[0].(*wire.A).A[0]++
		})
	}
	all.Wait()
	if m, ok := f.Cached(a("www.EXAMPLE.com.")); !ok || address(m, nil) != "192.0.2.8" {
		t.Errorf("cached: %v", m)
	}
	if asked.Load() != 1 {
		t.Errorf("asked %d times", asked.Load())
	}
}

func TestLimits(t *testing.T) {
	f := forwarder(t, Config{})
	if _, err := f.Exchange(t.Context(), a("www.example.com.")); !errors.Is(err, ErrNoUpstream) {
		t.Error(err)
	}
	f = forwarder(t, Config{Upstreams: []netip.AddrPort{dead(t)}, MaxConcurrent: 1, Timeout: 400 * time.Millisecond})
	done := make(chan error)
	go func() { _, err := f.Exchange(t.Context(), a("one.example.com.")); done <- err }()
	time.Sleep(100 * time.Millisecond)
	if _, err := f.Exchange(t.Context(), a("two.example.com.")); !errors.Is(err, ErrOverload) {
		t.Error(err)
	}
	started := time.Now()
	if err := <-done; err == nil || !strings.Contains(err.Error(), "no upstream answered within 400ms") || time.Since(started) > time.Second {
		t.Error(err)
	}
}

// TestResolvConf expects the upstreams to follow the file, and a broken file to
// leave them as they are and be reported.
func TestResolvConf(t *testing.T) {
	path := filepath.Join(t.TempDir(), "resolv.conf")
	f := forwarder(t, Config{ResolvConf: path})
	if text := strings.Join(f.Describe(), "\n"); !strings.Contains(text, "no upstream") || !strings.Contains(text, "cannot be read") {
		t.Error(text)
	}
	write := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		f.zones[0].reread()
	}
	write("nameserver 192.0.2.1\nnameserver fd00::1\n")
	if text := strings.Join(f.Describe(), "\n"); text != "upstream 192.0.2.1:53 answers\nupstream [fd00::1]:53 answers" {
		t.Error(text)
	}
	kept := (*f.zones[0].upstreams.Load())[1]
	write("nameserver nonsense\nnameserver fd00::1\nnameserver 192.0.2.3")
	if (*f.zones[0].upstreams.Load())[0] != kept || !strings.Contains(strings.Join(f.Describe(), ""), `line 1: "nonsense"`) {
		t.Errorf("%v", f.Describe())
	}
	write("# empty")
	if len(*f.zones[0].upstreams.Load()) != 2 || !strings.Contains(strings.Join(f.Describe(), ""), "names no server") {
		t.Errorf("%v", f.Describe())
	}
	if f.zones[0].reread() {
		t.Error("an unchanged file is read again")
	}
}

func FuzzParseResolvConf(f *testing.F) {
	f.Add("nameserver 10.0.0.1\nsearch a b\noptions ndots:5\n")
	f.Add("nameserver fe80::1%eth0\r\n#nameserver 1.2.3.4\nnameserver")
	f.Add("nameserver ::ffff:10.0.0.1\nnameserver 10.0.0.1\nnameserver 0.0.0.0\n\x00")
	f.Fuzz(func(t *testing.T, text string) {
		servers, problems := ParseResolvConf(text)
		seen := map[netip.AddrPort]bool{}
		for _, s := range servers {
			if !s.IsValid() || s.Port() != port || s.Addr().IsUnspecified() || seen[s] {
				t.Errorf("server %s", s)
			}
			seen[s] = true
		}
		if lines := strings.Count(text, "nameserver"); len(servers)+len(problems) > lines {
			t.Errorf("%d servers and %d problems in %d lines", len(servers), len(problems), lines)
		}
	})
}
