package bgp

import (
	"context"
	"log/slog"
	"strings"

	wire "github.com/osrg/gobgp/v4/pkg/packet/bgp"
)

// handler returns where GoBGP logs to: the journal, and as debug messages the log.
func (j *journal) handler(log *slog.Logger) slog.Handler {
	return &listener{journal: j, next: log.Handler()}
}

// listener finds in log records what there is no other way to learn.
type listener struct {
	journal *journal
	next    slog.Handler
	key     string // of the session that the logger is for
}

// Enabled tells that all is wanted.
func (l *listener) Enabled(context.Context, slog.Level) bool { return true }

// Handle takes in a record.
func (l *listener) Handle(ctx context.Context, r slog.Record) error {
	l.understand(r)
	if !l.next.Enabled(ctx, slog.LevelDebug) {
		return nil
	}
	r = r.Clone()
	r.Level, r.Message = slog.LevelDebug, "GoBGP: "+r.Message
	return l.next.Handle(ctx, r)
}

// WithAttrs returns a listener for the session that the attributes name.
func (l *listener) WithAttrs(attributes []slog.Attr) slog.Handler {
	n := &listener{l.journal, l.next.WithAttrs(attributes), l.key}
	for _, a := range attributes {
		if a.Key == "Key" {
			n.key = a.Value.String()
		}
	}
	return n
}

// WithGroup is not used by GoBGP.
func (l *listener) WithGroup(name string) slog.Handler {
	return &listener{l.journal, l.next.WithGroup(name), l.key}
}

// understand notes what a record says of a session. The tests go through every
// message with real routers, so a version of GoBGP that words them differently is
// noticed.
func (l *listener) understand(r slog.Record) {
	if l.key == "" {
		return
	}
	fields := func() map[string]slog.Value {
		all := map[string]slog.Value{}
		r.Attrs(func(a slog.Attr) bool {
			all[a.Key] = a.Value
			return true
		})
		return all
	}
	m := mishap{at: l.journal.now()}
	p := pending{}
	switch r.Message {
	case "failed to connect":
		m.kind, m.text = unconnected, fields()["Error"].String()
	case "outgoing connection IO error":
		m.kind, p = closedEarly, pending{failures: 1, unclear: true}
	case "outgoing connection established":
		m.kind = silentOpen
	case "outgoing connection closing due to hold timer expired in OPEN SENT state":
		p.failures = 1
	case "sent notification":
		m.kind, m.notification = sent, readNotification(fields())
		if m.code == wire.BGP_ERROR_CEASE && m.subcode == wire.BGP_ERROR_SUB_ADMINISTRATIVE_SHUTDOWN {
			return // asked for by this package, which knows why
		}
		p = pending{failures: 1, unclear: m.unclear()}
	case "received notification":
		m.kind, m.notification = received, readNotification(fields())
	case "prefix limit reached":
		m.kind, p.tooMany = tooMany, true
	case "Peer Down":
		m = down(m, fields()["Reason"].String())
	default:
		if !strings.HasPrefix(r.Message, "Session will be reset due to malformed") {
			return
		}
		m.kind, m.text = malformed, printable(fields()["Error"].String())
	}
	if m.kind == nothing && p == (pending{}) {
		return
	}
	l.journal.with(l.key, func(r *record) { r.add(m, p) })
}

// add notes a reason and what follows from it. What ends a session that is up counts
// when the session has ended.
func (r *record) add(m mishap, p pending) {
	if m.kind != nothing {
		r.note(m)
	}
	if r.state != wire.BGP_FSM_ESTABLISHED {
		r.pending.failures += p.failures
		r.pending.unclear = r.pending.unclear || p.unclear
	}
	r.pending.tooMany = r.pending.tooMany || p.tooMany
}

// down reads the word by which GoBGP says why a session is no more, unless it has
// said more before.
func down(m mishap, reason string) mishap {
	switch word, _, _ := strings.Cut(reason, " "); word {
	case "admin-down", "unknown", "notification-sent", "notification-received", "hard-reset", "hold-timer-expired":
	case "read-failed", "graceful-restart":
		m.kind = lost
	default:
		m.kind, m.text = lost, printable(reason)
	}
	return m
}

func readNotification(fields map[string]slog.Value) notification {
	number := func(name string) uint8 {
		if v := fields[name]; v.Kind() == slog.KindInt64 {
			return uint8(v.Int64())
		}
		return 0
	}
	n := notification{code: number("Code"), subcode: number("Subcode")}
	if data, ok := fields["Data"].Any().([]byte); ok {
		n.data = data
	}
	// GoBGP has taken the administrator's words out of the data.
	if words := fields["Communicated-Reason"]; words.Kind() == slog.KindString && len(words.String()) < 256 {
		n.data = append([]byte{byte(len(words.String()))}, words.String()...)
	}
	return n
}

// describe says in words what kept a session from being.
func (m mishap) describe(w wanted, at string) string {
	switch m.kind {
	case lost:
		if m.text == "" {
			return "the router closed the connection without a word: look whether it has restarted"
		}
		return "the session was lost: " + m.text
	case unconnected:
		return unreachable(m.text, w, at)
	case closedEarly:
		text := "the router closes the connection at once: look whether it has this node's address and AS number among its neighbours"
		if w.password == "" {
			text += ", and whether it demands an MD5 key"
		}
		return text
	case silentOpen:
		return "the router takes the connection but says nothing: look whether BGP is what listens at " + at
	case refused:
		return "the router refuses the session"
	case malformed:
		return "closed the session: the router sent something that is not BGP as RFC 4271 has it (" + m.text + ")"
	case sent:
		return m.sent()
	case received:
		return m.received(w)
	case tooMany:
		return crowd()
	case said:
		return m.text
	}
	return ""
}
