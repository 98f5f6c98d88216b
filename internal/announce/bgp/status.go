package bgp

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/osrg/gobgp/v4/api"
	wire "github.com/osrg/gobgp/v4/pkg/packet/bgp"

	"github.com/fairlead-net/fairlead/internal/announce/bgp/bfd"
	"github.com/fairlead-net/fairlead/internal/desired"
)

// Status is how a session with a router is.
type Status struct {
	Name desired.Name // of the BGPPeer
	// Address is the router's, or the name of the interface that it is looked for at.
	Address string
	Port    uint16
	// AS is the router's AS number, 0 if it is not known.
	AS uint32
	// State is that of RFC 4271, section 8.2.2, such as Established. A session that is
	// not to be made, or not now, is Idle.
	State string
	// Since is when the session went up, or was last lost; zero if it never was up.
	Since time.Time
	// Error says why there is no session, or while there is one why the last was lost
	// at ErrorAt, with what to do. It is empty if nothing is known to be wrong.
	Error   string
	ErrorAt time.Time
	// Retry is when the session is tried again if it is let be for now; else zero.
	Retry time.Time
	// Untold says which routes the router is not told though it should be, and why.
	Untold string
	// Routes is how many it is told; 0 while the session is not Established.
	Routes int
	// Losses is how often the session was lost since it was last configured.
	Losses uint64
	// Counters are since the BGPPeer was first applied.
	Counters Counters
	// BFD is nil where BFD is not asked for. It watches the router while there is a
	// session, and its counters are since the BGPPeer was first applied.
	BFD *bfd.Session
}

// Established tells whether routes are exchanged.
func (s Status) Established() bool { return s.State == "Established" }

// Counters count messages of BGP.
type Counters struct {
	OpensSent, OpensReceived                 uint64
	KeepalivesSent, KeepalivesReceived       uint64
	UpdatesSent, UpdatesReceived             uint64
	NotificationsSent, NotificationsReceived uint64
	RefreshesSent, RefreshesReceived         uint64
	TotalSent, TotalReceived                 uint64
}

// tally adds the counters of GoBGP up, which begins anew with each session that is
// configured.
type tally struct{ before, now Counters }

func (t *tally) renew() { t.before, t.now = t.total(), Counters{} }

func (t *tally) total() Counters {
	a, b := t.before, t.now
	return Counters{
		a.OpensSent + b.OpensSent, a.OpensReceived + b.OpensReceived,
		a.KeepalivesSent + b.KeepalivesSent, a.KeepalivesReceived + b.KeepalivesReceived,
		a.UpdatesSent + b.UpdatesSent, a.UpdatesReceived + b.UpdatesReceived,
		a.NotificationsSent + b.NotificationsSent, a.NotificationsReceived + b.NotificationsReceived,
		a.RefreshesSent + b.RefreshesSent, a.RefreshesReceived + b.RefreshesReceived,
		a.TotalSent + b.TotalSent, a.TotalReceived + b.TotalReceived,
	}
}

// note takes in what GoBGP has counted; less than before means that it began anew.
func (t *tally) note(m *api.Messages) {
	out, in := m.GetSent(), m.GetReceived()
	c := Counters{
		out.GetOpen(), in.GetOpen(), out.GetKeepalive(), in.GetKeepalive(), out.GetUpdate(), in.GetUpdate(),
		out.GetNotification(), in.GetNotification(), out.GetRefresh(), in.GetRefresh(), out.GetTotal(), in.GetTotal(),
	}
	if c.TotalSent < t.now.TotalSent || c.TotalReceived < t.now.TotalReceived {
		t.renew()
	}
	t.now = c
}

// watched adds the counters of BFD up, whose sessions come and go with those of BGP.
type watched struct{ before, now bfd.Counters }

func (w *watched) note(s bfd.Session, there bool) {
	if !there || s.Counters.Sent < w.now.Sent || s.Counters.Received < w.now.Received {
		w.before, w.now = w.total(), bfd.Counters{}
	}
	w.now = s.Counters
}

func (w *watched) total() bfd.Counters {
	a, b := w.before, w.now
	return bfd.Counters{
		Sent: a.Sent + b.Sent, Received: a.Received + b.Received, Ups: a.Ups + b.Ups, Downs: a.Downs + b.Downs, Unsent: a.Unsent + b.Unsent,
	}
}

func (w *watched) session(s bfd.Session, there bool) *bfd.Session {
	if !there {
		s = bfd.Session{State: bfd.Down, Why: "it begins when the BGP session is up"}
	}
	s.Counters = w.total()
	return &s
}

// count takes in what GoBGP has counted of all sessions.
func (p *Plane) count() {
	if p.server == nil {
		return
	}
	peers, err := p.server.look()
	if err != nil {
		return
	}
	for _, e := range p.entries {
		if peer := peers[e.session.key()]; e.installed && peer != nil {
			e.tally.note(peer.GetState().GetMessages())
		}
	}
}

// Peers returns the status of every router of the last Table, sorted by name.
func (p *Plane) Peers() []Status {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.count()
	sessions := p.bfd.Sessions()
	now := time.Now()
	all := make([]Status, 0, len(p.entries))
	for _, e := range p.entries {
		s := p.status(now, e)
		if e.want.bfd != nil {
			b, ok := sessions[e.want.Name.String()]
			e.watched.note(b, ok)
			s.BFD = e.watched.session(b, ok)
		}
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b Status) int { return a.Name.Compare(b.Name) })
	return all
}

func (p *Plane) status(now time.Time, e *entry) Status {
	w := e.want
	s := Status{
		Name: w.Name, Port: w.Port, AS: cmp.Or(w.PeerASN, e.as), State: "Idle", Address: cmp.Or(w.Interface, w.Address.String()),
		Error: cmp.Or(w.refused, e.problem), Counters: e.tally.total(),
	}
	if !e.installed {
		return s
	}
	r := p.journal.get(e.session.key())
	s.Address, s.State, s.Untold, s.Losses = e.session.key(), word(r.state), e.untold, r.losses
	if r.seen {
		s.AS = r.remote
	}
	if r.seen || r.losses > 0 {
		s.Since = r.since
	}
	if s.Established() {
		s.Routes, s.Untold = r.told(e)
		s.Error = "" // what counts is that the session is up
	} else if now.Before(e.heldUntil) {
		s.Retry = e.heldUntil
	}
	// A router may take a moment to say something.
	if hasty := r.mishap.kind == silentOpen && now.Sub(r.mishap.at) < usualConnect; s.Error == "" && !hasty {
		where := netip.AddrPortFrom(e.session.address, w.Port).String()
		s.Error, s.ErrorAt = r.mishap.describe(w, where), r.mishap.at
	}
	if link := p.links[w.Interface]; link != nil && link.several() && !s.Established() {
		s.Error += fmt.Sprintf("; several routers are heard at interface %s, and spec.interface is for a link between two: name the router in spec.peerAddress", w.Interface)
	}
	return s
}

// word is the name of a state. GoBGP calls it Active while it tries to connect.
func word(state wire.FSMState) string {
	switch state {
	case wire.BGP_FSM_ACTIVE, wire.BGP_FSM_CONNECT:
		return "Connect"
	case wire.BGP_FSM_OPENSENT:
		return "OpenSent"
	case wire.BGP_FSM_OPENCONFIRM:
		return "OpenConfirm"
	case wire.BGP_FSM_ESTABLISHED:
		return "Established"
	}
	return "Idle"
}

// told counts what a router takes of what it is told: routes of a family that it has
// not agreed to are not sent.
func (r record) told(e *entry) (routes int, untold string) {
	var missing [2]int
	for _, p := range e.paths {
		switch is6 := p.prefix.Addr().Is6(); {
		case is6 && r.takes6 || !is6 && r.takes4:
			routes++
		case is6:
			missing[1]++
		default:
			missing[0]++
		}
	}
	lines := []string{e.untold}
	for i, family := range [2]string{"IPv4", "IPv6"} {
		if missing[i] > 0 {
			lines = append(lines, fmt.Sprintf("%d routes are not announced to this router: it has %s not activated for this neighbour; activate it there", missing[i], family))
		}
	}
	return routes, strings.Join(slices.DeleteFunc(lines, func(l string) bool { return l == "" }), "; ")
}

// DroppedBFD returns how many BFD packets were of no session, or not as they must be.
func (p *Plane) DroppedBFD() uint64 { return p.bfd.Dropped() }

// Describe says in words how each session is.
func (p *Plane) Describe() []string {
	var lines []string
	for _, s := range p.Peers() {
		lines = append(lines, s.describe())
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.unavailable != "" && time.Now().Before(p.leaveAt) {
		lines = append(lines, "routers are asked to prefer other nodes until "+moment(p.leaveAt)+", then the routes to Services are withdrawn: "+p.unavailable)
	}
	if p.failed != nil {
		lines = append(lines, strings.Split("not everything is as it should be: "+p.failed.Error(), "\n")...)
	}
	return lines
}

func (s Status) describe() string {
	text := fmt.Sprintf("BGPPeer %s: session with %s", s.Name, s.Address)
	if s.AS != 0 {
		text += fmt.Sprintf(" (AS %d)", s.AS)
	}
	text += " is " + s.State
	if !s.Since.IsZero() {
		text += " since " + moment(s.Since)
	}
	if s.Established() {
		text += fmt.Sprintf(", %d routes announced", s.Routes)
	}
	if s.BFD != nil {
		text += ", BFD " + s.BFD.State.String()
		if s.BFD.Why != "" {
			text += " (" + s.BFD.Why + ")"
		}
	}
	if s.Untold != "" {
		text += "; " + s.Untold
	}
	switch {
	case s.Error != "" && s.Established():
		text += "; the one before ended at " + moment(s.ErrorAt) + ": " + s.Error
	case s.Error != "":
		text += ": " + s.Error
	}
	if !s.Retry.IsZero() {
		text += "; next attempt at " + moment(s.Retry)
	}
	return text
}

func moment(t time.Time) string { return t.UTC().Format(time.RFC3339) }
