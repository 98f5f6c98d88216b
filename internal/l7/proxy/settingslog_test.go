package proxy

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fairlead-net/fairlead/internal/l7/accesslog"
)

// slowLines takes a while for each batch.
type slowLines struct{ lines }

func (l *slowLines) Write(p []byte) (int, error) {
	time.Sleep(lastWrite / 2)
	return l.lines.Write(p)
}

// TestSettingsLogEnds holds that the end of the proxy waits for the last lines of an access
// log that has been replaced before.
func TestSettingsLogEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		defer time.Sleep(2 * lastWrite) // for what has not been waited for
		p, err := New(Config{})
		if err != nil {
			t.Fatal(err)
		}
		first, second := new(slowLines), new(lines)
		p.log(&AccessLog{Output: first})
		p.book.Load().add([]byte("one\n"))
		p.log(&AccessLog{Output: second})
		p.book.Load().add([]byte("two\n"))
		p.log(nil)
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
		if got := first.buf.String() + second.buf.String(); got != "one\ntwo\n" {
			t.Errorf("%q is written when the proxy has ended", got)
		}
	})
}

// TestSettingsLogStays holds that an access log which is said to be as it is stays, and one
// that differs does not.
func TestSettingsLogStays(t *testing.T) {
	out := new(lines)
	config := func(format string, skips ...string) Config {
		log := &AccessLog{Output: out, Format: accesslog.JSON()}
		if format != "" {
			log.Format, _ = accesslog.Parse(strings.TrimPrefix(format, "json "), strings.HasPrefix(format, "json "))
		}
		log.Skips, _ = accesslog.ParseSkips(skips)
		return Config{AccessLog: log}
	}
	p := start(t, config(""), tableFor(), toBackend())
	for n, step := range []struct {
		config Config
		stays  bool
	}{
		{config(""), true}, {Config{AccessLog: &AccessLog{Output: out}}, true}, {config("$status"), false}, {config("$status"), true}, {config("json $status"), false},
		{config("json $status", "/a"), false}, {config("json $status", "/a"), true}, {config("json $status", "~/a"), false}, {config("json $host", "~/a"), false}, {config("", "~/a"), false},
	} {
		before := p.book.Load()
		if _, err := p.SetConfig(step.config); err != nil {
			t.Fatal(err)
		}
		if stays := p.book.Load() == before; stays != step.stays {
			t.Errorf("step %d: the same log is kept: %t", n, stays)
		}
	}
}

// TestSettingsSessions holds that MaxSessions counts when it is set.
func TestSettingsSessions(t *testing.T) {
	p := start(t, Config{MaxSessions: 2}, tableOfUDP(serveUDP(t, "one")), nil)
	count := func() int {
		for range 20 {
			exchanges(t, dialUDP(t, p), "a")
		}
		l := p.udp["udp"]
		l.mu.Lock()
		defer l.mu.Unlock()
		return len(l.sessions)
	}
	if n := count(); n != 1 {
		t.Errorf("%d sessions of one client", n)
	}
	if _, err := p.SetConfig(Config{MaxSessions: 64}); err != nil {
		t.Fatal(err)
	}
	if n := count(); n != 21 {
		t.Errorf("%d sessions once there may be more", n)
	}
	if _, err := p.SetConfig(Config{MaxSessions: 2}); err != nil {
		t.Fatal(err)
	}
	if p.flows.take(netip.MustParseAddr("192.0.2.1")) {
		t.Error("there is a place though there are more sessions than may be")
	}
}

// TestSettingsLater holds that what counts only once the process begins anew is said, and
// nothing else.
func TestSettingsLater(t *testing.T) {
	p := start(t, Config{AltSvcPort: 443, ReservedPorts: []uint16{9153}}, tableFor(), toBackend())
	for _, c := range []struct {
		config Config
		says   string
	}{
		{Config{AltSvcPort: 443, MaxSessions: 3, ReservedPorts: []uint16{9154}}, ""}, {Config{AltSvcPort: 8443}, "the port that clients are told for HTTP/3 is 443, and will be 8443"},
		{Config{AltSvcPort: 443, AskTLS: new(tls.Config)}, "servers that decide who is let in"}, {Config{AltSvcPort: 443, HTTP3: true}, "HTTP/3 is served: false, and will be true"},
	} {
		c.config.Address = p.config.Address
		later, err := p.SetConfig(c.config)
		if err != nil || (c.says == "") != (len(later) == 0) || !strings.HasPrefix(strings.Join(later, ", "), c.says) {
			t.Errorf("%q, error %v; want %q", later, err, c.says)
		}
		if got := fmt.Sprint(p.settings().ReservedPorts); got != fmt.Sprint(c.config.ReservedPorts) {
			t.Errorf("reserved are %s", got)
		}
		for _, port := range []uint16{9153, 9154} { // what is in force is what counts
			if got := p.reserved(netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), port)); got != slices.Contains(c.config.ReservedPorts, port) {
				t.Errorf("with %v: port %d is reserved: %t", c.config.ReservedPorts, port, got)
			}
		}
		if now := p.settings(); now.AltSvcPort != 443 || now.AskTLS != nil || now.HTTP3 {
			t.Errorf("what counts later does now: %d, %v, %t", now.AltSvcPort, now.AskTLS, now.HTTP3)
		}
	}
}

// TestSettingsTick holds that deadlines are as exact as shorter times need it.
func TestSettingsTick(t *testing.T) {
	p := start(t, Config{}, tableFor(), toBackend())
	if _, err := p.SetConfig(Config{HeadTimeout: 80 * time.Millisecond}); err != nil {
		t.Fatal(err)
	}
	if got := time.Duration(p.clock.tick.Load()); got != 10*time.Millisecond {
		t.Errorf("the clock looks every %v", got)
	}
	c := newClock(time.Hour)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	looked := make(chan struct{}, 1)
	go c.run(ctx, func(int64) { cancel(); looked <- struct{}{} }, func(do func()) { do() })
	c.setTick(time.Millisecond)
	<-looked // it takes an hour if the clock does not follow
}
