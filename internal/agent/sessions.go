package agent

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"github.com/fairlead-net/fairlead/internal/announce"
	"github.com/fairlead-net/fairlead/internal/announce/bgp"
	"github.com/fairlead-net/fairlead/internal/desired"
)

// sessionPause lies between two Events about one session at least, so that a router
// which flaps costs the API server little. The last state is told in any case.
const sessionPause = 10 * time.Second

// sessionTeller tells users at their BGPPeers how the sessions of this node are.
type sessionTeller struct {
	node string
	log  *slog.Logger
	// event makes a Reason an Event, a warning or not.
	event func(ctx context.Context, what desired.Reason, warning bool) error
	told  map[desired.Name]told
}

// told is what was said last of a session, and when.
type told struct {
	reason desired.Reason
	at     time.Time
}

// tell tells what is new, and returns when it must be called again because
// something could not be said yet; zero means not before a session changes.
func (t *sessionTeller) tell(ctx context.Context, now time.Time, sessions []bgp.Status) time.Time {
	var again time.Time
	all := map[desired.Name]told{}
	for _, s := range sessions {
		last := t.told[s.Name]
		all[s.Name] = last
		reason, known := t.reason(s)
		if !known || reason == last.reason {
			continue
		}
		due := last.at.Add(sessionPause)
		if !now.Before(due) {
			err := t.event(ctx, reason, !s.Established())
			if err == nil {
				all[s.Name] = told{reason, now}
				continue
			}
			t.log.Warn("no Event about a session with a router, trying again", "object", reason.Object.String(), "error", err)
			all[s.Name], due = told{last.reason, now}, now.Add(sessionPause)
		}
		if again.IsZero() || due.Before(again) {
			again = due
		}
	}
	t.told = all
	return again
}

// reason returns what there is to say of a session; nothing while it is being made
// and no trouble is known.
func (t *sessionTeller) reason(s bgp.Status) (desired.Reason, bool) {
	r := desired.Reason{Object: desired.Ref{Kind: "BGPPeer", Namespace: s.Name.Namespace, Name: s.Name.Name}}
	switch {
	case s.Established() && s.Untold == "":
		r.Code, r.Message = "SessionUp", fmt.Sprintf("node %s has a session with %s", t.node, s.Address)
	case s.Established():
		r.Code, r.Message = "SessionUp", fmt.Sprintf("node %s has a session with %s, but %s", t.node, s.Address, s.Untold)
	case s.Error != "":
		r.Code, r.Message = "SessionDown", fmt.Sprintf("node %s has no session with %s: %s", t.node, s.Address, s.Error)
	}
	return r, r.Code != ""
}

// Session is a session of a node with a router. It has no secret and no address of
// a Service: whoever can reach a node may ask.
type Session struct {
	// Peer is the name of the BGPPeer.
	Peer    string `json:"peer"`
	Address string `json:"address"`
	AS      uint32 `json:"as,omitempty"`
	// State is that of RFC 4271, section 8.2.2, and Since when it was last entered or
	// left, if it is or was Established.
	State string    `json:"state"`
	Since time.Time `json:"since,omitzero"`
	// Routes is how many the router is told.
	Routes int    `json:"routes"`
	BFD    string `json:"bfd,omitempty"`
	// Problem says why there is no session, or what the router is not told.
	Problem string `json:"problem,omitempty"`
}

func sessionsOf(all []bgp.Status) []Session {
	var sessions []Session
	for _, s := range all {
		one := Session{Peer: s.Name.Name, Address: s.Address, AS: s.AS, State: s.State, Since: s.Since, Routes: s.Routes, Problem: s.Untold}
		if !s.Established() && s.Error != "" {
			one.Problem = s.Error
		}
		if s.BFD != nil {
			one.BFD = s.BFD.State.String()
		}
		sessions = append(sessions, one)
	}
	return sessions
}

// AnnouncedRoute is a prefix that routers are told, and the BGPPeers that they are of.
type AnnouncedRoute struct {
	Prefix netip.Prefix `json:"prefix"`
	Peers  []string     `json:"peers"`
}

// routesOf returns what routers to which there is a session are told by a Table.
func routesOf(t announce.Table, sessions []bgp.Status) []AnnouncedRoute {
	var all []AnnouncedRoute
	for _, r := range t.Routes {
		one := AnnouncedRoute{Prefix: r.Prefix}
		for _, s := range sessions {
			if s.Established() && (r.Peers == nil || slices.Contains(r.Peers, s.Name.Name)) {
				one.Peers = append(one.Peers, s.Name.Name)
			}
		}
		if n := len(all); n > 0 && all[n-1].Prefix == r.Prefix { // routes are sorted by prefix
			all[n-1].Peers = append(all[n-1].Peers, one.Peers...)
			slices.Sort(all[n-1].Peers)
			all[n-1].Peers = slices.Compact(all[n-1].Peers)
		} else if len(one.Peers) > 0 {
			all = append(all, one)
		}
	}
	return all
}
