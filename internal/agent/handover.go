package agent

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/fairlead-net/fairlead/internal/announce"
	"github.com/fairlead-net/fairlead/internal/lb"
)

const (
	// handoverPatience is how long an address waits to be announced until packets of
	// its older connections are passed on: they must not arrive before, but a kernel
	// that is busy must not keep an address from being taken over.
	handoverPatience = 200 * time.Millisecond
	// handoverTick is how often it is looked for what is over or has to be renewed.
	handoverTick = time.Second
)

// passer is a plane that passes packets on to the node that knows their connections.
type passer interface{ Pass([]lb.Passing) error }

// handing follows which addresses move, and tells the planes whom packets of
// connections that began elsewhere are for. Only describe is for several goroutines.
type handing struct {
	log    *slog.Logger
	planes func() []passer
	timer  *time.Timer

	moves    announce.Moves
	table    announce.Table
	live     announce.Live
	election announce.Election
	// told is what the planes were told last, at a time.
	told []announce.Passing
	at   time.Time

	mu    sync.Mutex // held while the planes are told
	noted sync.Mutex // guards what follows
	// turn counts what the planes were told; known is the last that all have taken,
	// ended the last that was tried.
	turn, known, ended int
	count              int
	problem            string
}

// newHanding returns what follows the moves of a node that knows of none.
func newHanding(planes func() []passer, log *slog.Logger) *handing {
	h := &handing{log: log, planes: planes, timer: time.NewTimer(handoverTick)}
	h.timer.Stop()
	return h
}

// passers are the planes of this process that pass packets on.
func (a *Agent) passers() []passer {
	var all []passer
	if a.packets != nil {
		all = append(all, a.packets)
	}
	if a.uplink != nil {
		all = append(all, a.uplink)
	}
	return all
}

// follow takes in an Election, before it is announced. When the timer fires, again
// has to be called.
func (h *handing) follow(t announce.Table, live announce.Live, e announce.Election) {
	h.table, h.live, h.election = t, live, e
	h.again()
}

// again does what time demands.
func (h *handing) again() {
	now := time.Now()
	h.moves = announce.Follow(h.moves, h.table, h.live, h.election, now)
	if !h.moves.Known() {
		return
	}
	want := h.moves.Passings(now)
	if failed, _ := h.state(); failed || stale(h.told, want, now.Sub(h.at)) {
		h.told, h.at = want, now
		h.tell(want)
	}
	if _, sure := h.state(); !sure || !h.moves.Idle() {
		h.timer.Reset(handoverTick)
	}
}

// state tells whether the planes failed to take what they were told, or were told
// nothing yet, and whether they know all of it.
func (h *handing) state() (failed, sure bool) {
	h.noted.Lock()
	defer h.noted.Unlock()
	sure = h.turn > 0 && h.known == h.turn
	return !sure && h.ended == h.turn, sure
}

// stale tells whether what planes were told a while ago is no longer what is wanted,
// or has to be renewed.
func stale(told, want []announce.Passing, ago time.Duration) bool {
	if len(told) != len(want) {
		return true
	}
	for i, w := range want {
		left := told[i].For - ago
		if told[i].Address != w.Address || told[i].To != w.To || left < w.For/2 || left > w.For+handoverTick {
			return true
		}
	}
	return false
}

// tell tells the planes, and waits for them a little.
func (h *handing) tell(want []announce.Passing) {
	passings := make([]lb.Passing, len(want))
	for i, w := range want {
		passings[i] = lb.Passing{Address: w.Address, To: w.To, For: w.For}
	}
	h.noted.Lock()
	h.turn++
	turn := h.turn
	h.count = len(want)
	h.noted.Unlock()
	done := make(chan struct{})
	go func() {
		defer close(done)
		h.pass(turn, passings)
	}()
	patience := time.NewTimer(handoverPatience)
	defer patience.Stop()
	select {
	case <-done:
	case <-patience.C:
	}
}

// pass tells the planes, unless there is something newer to be told.
func (h *handing) pass(turn int, passings []lb.Passing) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.noted.Lock()
	newest := turn == h.turn
	h.noted.Unlock()
	if !newest {
		return
	}
	var failed []error
	for _, p := range h.planes() {
		failed = append(failed, p.Pass(passings))
	}
	problem := ""
	if err := errors.Join(failed...); err != nil {
		problem = strings.ReplaceAll(err.Error(), "\n", "; ")
	}
	h.noted.Lock()
	defer h.noted.Unlock()
	if problem != "" && problem != h.problem {
		h.log.Error("connections through other nodes end when their addresses move here", "error", problem)
	}
	h.problem, h.ended = problem, turn
	if problem == "" {
		h.known = turn
	}
}

// describe says in words what is passed on.
func (h *handing) describe() []string {
	h.noted.Lock()
	defer h.noted.Unlock()
	var lines []string
	if h.count > 0 {
		lines = append(lines, fmt.Sprintf("of %d addresses that have moved, packets of connections that this node does not know are passed on to the node that had them before", h.count))
	}
	if h.problem != "" {
		lines = append(lines, "connections through other nodes end when their addresses move here: "+h.problem)
	}
	return lines
}
