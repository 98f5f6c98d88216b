package bgp

import (
	"sync"
	"time"

	"github.com/osrg/gobgp/v4/api"
	"github.com/osrg/gobgp/v4/pkg/apiutil"
	wire "github.com/osrg/gobgp/v4/pkg/packet/bgp"
)

// journal gathers what GoBGP does, by what it reports: changes of state as events,
// and why a session is not made or is lost, which it says nowhere else, as log
// records. It never waits for anybody, as GoBGP calls it with its own locks held.
type journal struct {
	changed func()
	now     func() time.Time

	mu      sync.Mutex
	records map[string]*record // by key
}

// record is what is known of one session.
type record struct {
	state wire.FSMState
	// since is when the session went up, or was last lost, or made.
	since time.Time
	// losses are how often it was lost when it was up.
	losses uint64
	// remote is the router's AS number, extended whether it takes IPv6 next hops for
	// IPv4 routes; of the last time that the session was up.
	remote         uint32
	extended, seen bool
	takes4, takes6 bool // families that it agreed to
	// mishap is why there is no session, loss why the one before the present one ended.
	mishap, loss mishap
	pending      pending
}

// pending is what has happened since the journal was last asked.
type pending struct {
	failures int // sessions that were lost, or not made though there was a connection
	lived    time.Duration
	tooMany  bool
	unclear  bool // the reason is not known, but the router would tell it again
}

// mishap is one reason why there is no session.
type mishap struct {
	at   time.Time
	kind kind
	notification
	text string
}

type kind int

// The kinds, the more telling the later.
const (
	nothing     kind = iota
	silentOpen       // a connection, but no OPEN message yet
	lost             // text is GoBGP's word
	unconnected      // text is the system's
	closedEarly      // before the router said anything
	refused          // before the session was up
	sent             // a NOTIFICATION
	malformed        // text is GoBGP's
	received         // a NOTIFICATION
	tooMany          // routes
	said             // text is all there is to say
)

func newJournal(changed func()) *journal {
	return &journal{changed: changed, now: time.Now, records: map[string]*record{}}
}

// open begins a record, and close ends it.
func (j *journal) open(key string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.records[key] = &record{since: j.now()}
}

func (j *journal) close(key string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	delete(j.records, key)
}

// get returns a copy of a record.
func (j *journal) get(key string) record {
	j.mu.Lock()
	defer j.mu.Unlock()
	if r := j.records[key]; r != nil {
		return *r
	}
	return record{}
}

// take returns what has happened since the last call.
func (j *journal) take(key string) pending {
	j.mu.Lock()
	defer j.mu.Unlock()
	r := j.records[key]
	if r == nil {
		return pending{}
	}
	p := r.pending
	r.pending = pending{}
	return p
}

// forgive forgets what went wrong before the session was configured otherwise.
func (j *journal) forgive(key string) {
	j.with(key, func(r *record) { r.mishap, r.pending = mishap{}, pending{} })
}

// blame notes a reason that was found out elsewhere.
func (j *journal) blame(key, text string) {
	j.with(key, func(r *record) { r.mishap = mishap{at: j.now(), kind: said, text: text} })
}

func (j *journal) with(key string, f func(*record)) {
	j.mu.Lock()
	r := j.records[key]
	if r != nil {
		f(r)
	}
	j.mu.Unlock()
	if r != nil {
		j.changed()
	}
}

// transition takes in a change of state.
func (j *journal) transition(event *apiutil.WatchEventMessage_PeerEvent, at time.Time) {
	state := event.Peer.State
	if !state.NeighborAddress.IsValid() {
		return
	}
	j.with(state.NeighborAddress.String(), func(r *record) {
		before := r.state
		r.state = state.SessionState
		switch {
		case r.state == before:
		case r.state == wire.BGP_FSM_ESTABLISHED:
			r.since, r.remote, r.extended, r.seen = at, state.PeerASN, takesExtended(state.RemoteCap), true
			r.takes4, r.takes6 = takesFamilies(state.RemoteCap)
			if r.mishap.at.Before(at) { // or it is of the end of this one, which was heard of first
				r.mishap = mishap{}
			}
		case before == wire.BGP_FSM_ESTABLISHED:
			if state.DisconnectReason != api.PeerState_DISCONNECT_REASON_ADMIN_DOWN {
				r.pending.failures++
				r.pending.lived = at.Sub(r.since)
			}
			if r.loss = (mishap{}); !r.mishap.at.Before(r.since) {
				r.loss = r.mishap
			}
			r.losses++
			r.since = at
		case r.state == wire.BGP_FSM_IDLE && state.DisconnectReason == api.PeerState_DISCONNECT_REASON_INVALID_MSG:
			r.pending.failures++
			r.pending.unclear = true
			r.note(mishap{at: j.now(), kind: refused})
		case r.state == wire.BGP_FSM_OPENCONFIRM && r.mishap.kind == silentOpen:
			r.mishap = mishap{}
		}
	})
}

// takesExtended tells whether a router takes IPv6 next hops for IPv4 (RFC 8950,
// section 4).
func takesExtended(capabilities []wire.ParameterCapabilityInterface) bool {
	for _, c := range capabilities {
		extended, ok := c.(*wire.CapExtendedNexthop)
		if !ok {
			continue
		}
		for _, t := range extended.Tuples {
			if t.NLRIAFI == wire.AFI_IP && t.NLRISAFI == wire.SAFI_UNICAST && t.NexthopAFI == wire.AFI_IP6 {
				return true
			}
		}
	}
	return false
}

// takesFamilies tells which routes a router takes (RFC 4760, section 8): without a word
// about it those of IPv4.
func takesFamilies(capabilities []wire.ParameterCapabilityInterface) (v4, v6 bool) {
	v4 = true
	for _, c := range capabilities {
		if _, ok := c.(*wire.CapMultiProtocol); ok {
			v4 = false
		}
	}
	for _, c := range capabilities {
		if m, ok := c.(*wire.CapMultiProtocol); ok {
			v4, v6 = v4 || m.CapValue == wire.RF_IPv4_UC, v6 || m.CapValue == wire.RF_IPv6_UC
		}
	}
	return v4, v6
}

// note keeps the most telling of the reasons that belong together. What was found out
// by asking stays for as long as nothing else goes wrong.
func (r *record) note(m mishap) {
	age := m.at.Sub(r.mishap.at)
	if age < time.Second && r.mishap.kind > m.kind {
		return
	}
	if r.mishap.kind == said && age < memory && m.unclear() {
		r.mishap.at = m.at
		return
	}
	r.mishap = m
}

// memory is how long what was found out is good for, if it seems to be still so.
const memory = 5 * time.Minute

// unclear tells whether the router would say more if it were asked.
func (m mishap) unclear() bool {
	switch m.kind {
	case silentOpen, closedEarly, refused:
		return true
	case sent:
		return m.code == wire.BGP_ERROR_FSM_ERROR || m.code == wire.BGP_ERROR_OPEN_MESSAGE_ERROR
	}
	return false
}
