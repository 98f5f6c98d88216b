package bgp

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/osrg/gobgp/v4/pkg/apiutil"
	wire "github.com/osrg/gobgp/v4/pkg/packet/bgp"

	"github.com/fairlead-net/fairlead/internal/announce"
	"github.com/fairlead-net/fairlead/internal/desired"
)

func TestNotification(t *testing.T) {
	for want, n := range map[string]notification{
		"hold timer expired":                       {4, 0, nil},
		"wrong AS number":                          {2, 2, nil},
		"bad OPEN message":                         {2, 99, nil},
		"administrative shutdown":                  {6, 2, nil},
		`administrative shutdown, saying "bye"`:    {6, 2, []byte("\x03bye")},
		`administrative reset, saying "bye"`:       {6, 4, []byte("\x03bye and more")},
		"administrative reset":                     {6, 4, []byte("\xffbye")},
		"peer removed from the configuration":      {6, 9, []byte{6, 3}},
		`administrative shutdown, saying "hard"`:   {6, 9, []byte("\x06\x02\x04hard")},
		"hard reset":                               {6, 9, nil},
		"BFD down":                                 {6, 10, nil},
		"error 77, subcode 5":                      {77, 5, nil},
		"too many prefixes":                        {6, 1, []byte{0, 1, 1, 0, 0, 0, 9}},
		`administrative shutdown, saying "a[31mb"`: {6, 2, []byte("\x09a\x1b[31mb\x00\xff")},
	} {
		if got := n.String(); got != want {
			t.Errorf("%+v is %q, want %q", n, got, want)
		}
	}
}

// FuzzNotification: whatever a router says is safe to print, and short.
func FuzzNotification(f *testing.F) {
	f.Add(byte(6), byte(2), []byte("\x03bye"))
	f.Add(byte(6), byte(9), []byte("\x06\x09\x06\x02\x80\xe2\x80\xae"))
	f.Fuzz(func(t *testing.T, code, subcode byte, data []byte) {
		n := notification{code, subcode, data}
		for _, text := range []string{n.String(), n.sent(), n.received(wanted{Peer: peer("a", netip.MustParseAddr("10.0.0.1"), 1).Peer})} {
			if len(text) > 1000 || !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
				t.Errorf("%+v is %q", n, text)
			}
		}
	})
}

func TestUnreachable(t *testing.T) {
	plain := wanted{Peer: peer("a", netip.MustParseAddr("10.0.0.1"), 1, func(p *announce.Peer) { p.Source = netip.MustParseAddr("10.0.0.9") }).Peer}
	secret := plain
	secret.password = "secret"
	system := func(err error) string {
		return (&net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", err)}).Error()
	}
	for _, c := range []struct {
		system string
		w      wanted
		want   string
	}{
		{system(syscall.ECONNREFUSED), plain, "nothing listens at X"},
		{system(syscall.EHOSTUNREACH), plain, "there is no way to X"},
		{system(syscall.ENETUNREACH), plain, "there is no way to X"},
		{system(syscall.EADDRNOTAVAIL), plain, "spec.sourceAddress 10.0.0.9 is not an address of this node"},
		{system(syscall.ETIMEDOUT), plain, "a router that demands an MD5 key"},
		{system(os.ErrDeadlineExceeded), secret, "a wrong MD5 key looks just like this"},
		{context.DeadlineExceeded.Error(), secret, "a wrong MD5 key looks just like this"},
		{errors.New("whatever").Error(), plain, "cannot connect to X: whatever"},
	} {
		if got := unreachable(c.system, c.w, "X"); !strings.HasPrefix(got, c.want) && !strings.Contains(got, c.want) {
			t.Errorf("%s: %s, want %s", c.system, got, c.want)
		}
	}
}

// diary is a journal with what GoBGP logs into it, of one session.
type diary struct {
	*journal
	t       *testing.T
	handler slog.Handler
}

func newDiary(t *testing.T) diary {
	j := newJournal(func() {})
	named := func(key, value string) slog.Attr { return slog.String(key, value) }
	return diary{j, t, j.handler(slog.New(slog.DiscardHandler)).WithAttrs([]slog.Attr{named("Topic", "Peer"), named("Key", "10.0.0.1")})}
}

// log writes a line as GoBGP does.
func (d diary) log(level slog.Level, message string, fields ...any) {
	r := slog.NewRecord(time.Now(), level, message, 0)
	r.Add(fields...)
	if err := d.handler.Handle(d.t.Context(), r); err != nil {
		d.t.Error(err)
	}
}

func (d diary) expect(want string) {
	d.t.Helper()
	w := wanted{Peer: peer("a", netip.MustParseAddr("10.0.0.1"), 64513).Peer}
	if got := d.get("10.0.0.1").mishap.describe(w, "10.0.0.1:179"); !strings.HasPrefix(got, want) || want == "" && got != "" {
		d.t.Errorf("%q, want %q", got, want)
	}
}

func (d diary) took(want pending) {
	d.t.Helper()
	if got := d.take("10.0.0.1"); got != want {
		d.t.Errorf("%+v, want %+v", got, want)
	}
}

func (d diary) notification(what string, code, subcode int) {
	d.log(slog.LevelInfo, what+" notification", "Code", code, "Subcode", subcode, "Data", []byte(nil))
}

// TestJournal: what is kept of several reasons, and what follows from them.
func TestJournal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDiary(t)
		d.log(slog.LevelDebug, "failed to connect", "Error", "connection refused") // of a session that is not open
		d.open("10.0.0.1")
		d.expect("")
		d.log(slog.LevelDebug, "failed to connect", "Error", "dial tcp: connect: connection refused")
		d.expect("nothing listens at 10.0.0.1:179")
		d.took(pending{})
		// The more telling of two at once.
		time.Sleep(time.Minute)
		d.log(slog.LevelWarn, "Session will be reset due to malformed BGP message", "Error", "bad")
		d.notification("sent", 1, 1)
		d.log(slog.LevelInfo, "Peer Down", "Reason", "notification-sent code 1")
		d.expect("closed the session: the router sent something that is not BGP as RFC 4271 has it (bad)")
		d.took(pending{failures: 1})
		d.took(pending{})
		d.log(slog.LevelInfo, "prefix limit reached", "Family", "ipv4-unicast")
		d.expect("closed the session for 5m0s: the router sent more than 50000 routes")
		d.took(pending{tooMany: true})
		d.close("10.0.0.1")
		d.log(slog.LevelInfo, "Peer Down", "Reason", "read-failed")
		d.expect("")
	})
}

// TestLoss: while there is a session the status says why the one before ended, and
// nothing of attempts that failed before there was one.
func TestLoss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDiary(t)
		d.open("10.0.0.1")
		become := func(state wire.FSMState) {
			time.Sleep(time.Second)
			d.transition(&apiutil.WatchEventMessage_PeerEvent{Peer: apiutil.Peer{State: apiutil.PeerState{
				NeighborAddress: netip.MustParseAddr("10.0.0.1"), SessionState: state,
			}}}, time.Now())
		}
		expect := func(loss string, now string) {
			t.Helper()
			w := wanted{Peer: peer("a", netip.MustParseAddr("10.0.0.1"), 64513).Peer}
			if got := d.get("10.0.0.1").loss.describe(w, "X"); !strings.HasPrefix(got, loss) || loss == "" && got != "" {
				t.Errorf("the last loss: %q, want %q", got, loss)
			}
			d.expect(now)
		}
		refused := func() { d.log(slog.LevelDebug, "failed to connect", "Error", "dial tcp: connect: connection refused") }
		refused()
		become(wire.BGP_FSM_ESTABLISHED)
		expect("", "")
		time.Sleep(time.Hour)
		d.notification("sent", wire.BGP_ERROR_HOLD_TIMER_EXPIRED, 0)
		become(wire.BGP_FSM_IDLE)
		refused()
		time.Sleep(time.Minute)
		expect("closed the session: hold timer expired", "nothing listens")
		become(wire.BGP_FSM_ESTABLISHED)
		expect("closed the session: hold timer expired", "")
		become(wire.BGP_FSM_IDLE) // without a word
		become(wire.BGP_FSM_ESTABLISHED)
		expect("", "")
	})
}

// TestHints: a router several hops away is told from one that is down.
func TestHints(t *testing.T) {
	p := &Plane{links: map[string]*neighbourhood{}}
	const want = "without spec.ebgpMultiHop packets go no further"
	for name, c := range map[string]struct {
		m      mishap
		n      neighbor
		around surroundings
		want   bool
	}{
		"distant":    {mishap{kind: unconnected}, neighbor{local: 1, remote: 2}, surroundings{distant: true}, true},
		"internal":   {mishap{kind: unconnected}, neighbor{local: 1, remote: 1}, surroundings{distant: true}, false},
		"multihop":   {mishap{kind: unconnected}, neighbor{local: 1, remote: 2, multiHop: true}, surroundings{distant: true}, false},
		"direct":     {mishap{kind: unconnected}, neighbor{local: 1, remote: 2}, surroundings{direct: true}, false},
		"no route":   {mishap{kind: unconnected}, neighbor{local: 1, remote: 2}, surroundings{}, false},
		"it answers": {mishap{kind: received}, neighbor{local: 1, remote: 2}, surroundings{distant: true}, false},
	} {
		e := &entry{session: c.n, around: c.around, want: wanted{Peer: &desired.Peer{}}}
		if got := p.hints(e, c.m); strings.Contains(got, want) != c.want {
			t.Errorf("%s: %q", name, got)
		}
	}
	if got := list("", "a", "", "b"); got != "a; b" {
		t.Errorf("got %q", got)
	}
}

// TestFoundOut: what was found out by asking stays for as long as it seems to be so.
func TestFoundOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDiary(t)
		d.open("10.0.0.1")
		d.notification("sent", wire.BGP_ERROR_OPEN_MESSAGE_ERROR, wire.BGP_ERROR_SUB_BAD_PEER_AS)
		d.took(pending{failures: 1, unclear: true})
		d.blame("10.0.0.1", "found out")
		for range 10 {
			time.Sleep(time.Minute)
			d.log(slog.LevelDebug, "outgoing connection established")
			d.notification("sent", 2, 2)
			d.expect("found out")
		}
		time.Sleep(time.Minute)
		d.log(slog.LevelInfo, "received notification", "Code", 6, "Subcode", 2, "Communicated-Reason", "bye", "Data", []byte(nil))
		d.expect(`the router closed the session: administrative shutdown, saying "bye"`)
		time.Sleep(time.Minute)
		d.notification("sent", 6, 2) // this package's own doing
		d.expect(`the router closed the session: administrative shutdown, saying "bye"`)
		time.Sleep(time.Hour)
		d.log(slog.LevelDebug, "outgoing connection IO error", "reason", "read-failed")
		d.expect("the router closes the connection at once")
	})
}

// TestDamper: failures make attempts rarer, up to a point, and a session that lasted
// makes them forgotten.
func TestDamper(t *testing.T) {
	var d damper
	for i, want := range []time.Duration{0, 0, 5 * time.Second, 10 * time.Second, 20 * time.Second, 40 * time.Second, 80 * time.Second, 2 * time.Minute, 2 * time.Minute} {
		if got := d.failed(1, 0); got != want {
			t.Errorf("after %d failures %s, want %s", i+1, got, want)
		}
	}
	for range 100000 {
		if got := d.failed(1, time.Second); got != longestHold {
			t.Fatalf("got %s", got)
		}
	}
	if got := d.failed(1, time.Hour); got != 0 {
		t.Errorf("after an hour %s", got)
	}
}
