package agent

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fairlead-net/fairlead/internal/announce"
	"github.com/fairlead-net/fairlead/internal/announce/bgp"
	"github.com/fairlead-net/fairlead/internal/desired"
)

// newTestTeller returns a teller and what it has said, good or bad.
func newTestTeller(failing *bool) (teller *sessionTeller, said func() []string) {
	var lines []string
	event := func(_ context.Context, r desired.Reason, warning bool) error {
		if failing != nil && *failing {
			return errors.New("the API server is away")
		}
		kind := map[bool]string{true: "Warning", false: "Normal"}[warning]
		lines = append(lines, kind+" "+r.Object.String()+" "+r.Code+": "+r.Message)
		return nil
	}
	teller = &sessionTeller{node: "a", log: slog.New(slog.DiscardHandler), event: event}
	return teller, func() []string {
		all := lines
		lines = nil
		return all
	}
}

func session(peer, state, problem string) bgp.Status {
	return bgp.Status{Name: desired.Name{Namespace: "metallb-system", Name: peer}, Address: "192.0.2.1", State: state, Error: problem}
}

func TestSessionTeller(t *testing.T) {
	failing := false
	teller, said := newTestTeller(&failing)
	now := time.Now()
	expect := func(what string, again time.Duration, sessions []bgp.Status, lines ...string) {
		t.Helper()
		at := teller.tell(t.Context(), now, sessions)
		if got := said(); !slices.Equal(got, lines) {
			t.Errorf("%s: said %q, want %q", what, got, lines)
		}
		if again == 0 && !at.IsZero() || again != 0 && at.Sub(now) != again {
			t.Errorf("%s: again at %v, want in %v", what, at, again)
		}
	}
	up, down, busy := session("r", "Established", "the one before ended"), session("r", "Connect", "nothing listens there"), session("r", "Connect", "")
	const isUp = "Normal BGPPeer metallb-system/r SessionUp: node a has a session with 192.0.2.1"
	const isDown = "Warning BGPPeer metallb-system/r SessionDown: node a has no session with 192.0.2.1: nothing listens there"
	expect("it is being made", 0, []bgp.Status{busy})
	expect("it is up", 0, []bgp.Status{up}, isUp)
	now = now.Add(time.Second)
	expect("it goes at once", sessionPause-time.Second, []bgp.Status{down})
	expect("it flaps", 0, []bgp.Status{up})
	expect("and once more", sessionPause-time.Second, []bgp.Status{down})
	now = now.Add(sessionPause)
	expect("the last state is told", 0, []bgp.Status{down}, isDown)
	expect("once", 0, []bgp.Status{down})
	now = now.Add(sessionPause)
	untold := up
	untold.Untold = "3 routes are missing"
	expect("it is up, but", 0, []bgp.Status{untold}, isUp+", but 3 routes are missing")
	expect("it is gone", 0, nil)
	failing = true
	expect("it is back, without the API server", sessionPause, []bgp.Status{up})
	failing = false
	expect("which need not be pressed", sessionPause, []bgp.Status{up})
	now = now.Add(sessionPause)
	expect("and hears of it then", 0, []bgp.Status{up}, isUp)
}

func TestRoutesOf(t *testing.T) {
	prefix := netip.MustParsePrefix
	table := announce.Table{Routes: []announce.Route{
		{Prefix: prefix("192.0.2.1/32"), Peers: []string{"r"}},
		{Prefix: prefix("192.0.2.1/32")},
		{Prefix: prefix("192.0.2.2/32"), Peers: []string{"s"}},
		{Prefix: prefix("192.0.2.3/32"), Peers: []string{}},
		{Prefix: prefix("192.0.2.3/32"), Peers: []string{"r"}},
	}}
	sessions := []bgp.Status{session("q", "Established", ""), session("r", "Established", ""), session("s", "Connect", "")}
	want := []AnnouncedRoute{{prefix("192.0.2.1/32"), []string{"q", "r"}}, {prefix("192.0.2.3/32"), []string{"r"}}}
	if diff := cmp.Diff(want, routesOf(table, sessions), cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
