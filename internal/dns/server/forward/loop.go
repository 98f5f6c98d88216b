package forward

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"strings"
	"sync"
	"time"

	wire "github.com/miekg/dns"
)

// loopLabel stands in the names of probes, before the zone that is probed. It
// must not make the name one of those that RFC 6761 reserves and forwarders do
// not pass on.
const loopLabel = ".fairlead-loop-probe."

// loopWait is how long a probe may take to come back.
const loopWait = 2 * time.Second

// loops holds the probes that are under way.
type loops struct {
	mu   sync.Mutex
	sent map[string]*probe
}

type probe struct{ seen bool }

// Returned reports whether a question that a client asks of this server is a
// probe of its own that an upstream has brought back. Names are unpredictable,
// so that nobody else can make an upstream look like a loop.
func (f *Forwarder) Returned(name string, qtype uint16) bool {
	if qtype != wire.TypeHINFO {
		return false
	}
	name = strings.ToLower(name)
	if !strings.Contains(name, loopLabel) {
		return false
	}
	f.loops.mu.Lock()
	defer f.loops.mu.Unlock()
	p := f.loops.sent[name]
	if p == nil {
		return false
	}
	p.seen = true
	return true
}

// findLoops sends a probe to each chosen upstream, at the same time, and marks
// those whose probe comes back to this server.
func (f *Forwarder) findLoops(ctx context.Context, chosen func(*upstream) bool) {
	var all sync.WaitGroup
	for _, u := range f.all() {
		if chosen(u) {
			all.Go(func() { f.findLoop(ctx, u) })
		}
	}
	all.Wait()
}

func (f *Forwarder) findLoop(ctx context.Context, u *upstream) {
	var random [16]byte
	rand.Read(random[:]) // never fails, see crypto/rand
	name := wire.Fqdn(hex.EncodeToString(random[:]) + loopLabel + strings.TrimSuffix(u.zone.Name, "."))
	p := new(probe)
	f.loops.mu.Lock()
	f.loops.sent[name] = p
	f.loops.mu.Unlock()

	within, cancel := context.WithTimeout(ctx, loopWait)
	defer cancel()
	// Whether there is a reply does not matter here: queries will find out.
	_, _ = u.exchange(within, Query{Name: name, Type: wire.TypeHINFO, Class: wire.ClassINET})

	f.loops.mu.Lock()
	delete(f.loops.sent, name)
	own := p.seen || f.own(u.Address)
	f.loops.mu.Unlock()
	if ctx.Err() != nil {
		return // it was broken off, which says nothing
	}
	if was := u.own.Swap(own); own && !was {
		f.log.Error("upstream leads back to this server and is not asked: name another server in its place", "upstream", u)
	}
}
