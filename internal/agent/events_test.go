package agent

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/kube"
	"github.com/fairlead-net/fairlead/internal/reconcile"
)

// wanting returns reports of Services, named like the codes of their reasons
// before the dash.
func wanting(synced bool, codes ...string) reports {
	r := reports{revision: 7, synced: synced}
	byObject := map[desired.Ref]*desired.Status{}
	for _, code := range codes {
		ref := desired.Ref{Kind: "Service", Namespace: "demo", Name: code[:1]}
		reason := desired.Reason{Object: ref, Code: code, Message: "see there"}
		if code[0] == 'c' {
			r.compiled = append(r.compiled, reason)
			continue
		}
		if byObject[ref] == nil {
			byObject[ref] = &desired.Status{Object: ref}
		}
		byObject[ref].Reasons = append(byObject[ref].Reasons, reason)
	}
	for ref, status := range byObject {
		r.statuses = r.statuses.Set(ref, status)
	}
	return r
}

// leading gives the plane the Lease and returns how to take it away.
func leading(t *testing.T, p *eventPlane) (lose func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { p.lead(ctx); close(done) }()
	return func() { cancel(); <-done }
}

func TestEventPlane(t *testing.T) {
	server, client := eventServerClient(t)
	p := newEventPlane(kube.NewEventWriter(client, slog.New(slog.DiscardHandler)))
	known := []string{"aOne", "aTwo", "bOne", "compiled"}
	var all []string
	expect := func(what string, fresh ...string) {
		t.Helper()
		all = append(all, fresh...)
		slices.Sort(all)
		for start := time.Now(); len(server.codes(known...)) < len(all) && time.Since(start) < 10*time.Second; {
			time.Sleep(5 * time.Millisecond)
		}
		if got := server.codes(known...); !slices.Equal(got, all) {
			t.Errorf("%s: Events %v, want %v", what, got, all)
		}
	}
	apply := func(want reports) {
		t.Helper()
		if err := inTurn(t.Context(), p, want); err != nil {
			t.Error(err)
		}
	}
	if p.Describe()[0] != "stands by for the lease" {
		t.Error(p.Describe())
	}
	brief, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	if err := inTurn(brief, p, wanting(true, "aOne")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("without the Lease: %v", err)
	}
	cancel()
	lose := leading(t, p)
	apply(wanting(false, "aOne"))
	apply(wanting(true, "aOne", "compiled"))
	if p.Describe()[0] != "holds the lease and writes Events" {
		t.Error(p.Describe())
	}
	expect("first", "aOne", "compiled")
	apply(wanting(true, "aOne", "compiled", "bOne"))
	expect("one more object", "bOne")
	server.mu.Lock()
	server.gone = true
	server.mu.Unlock()
	if err := inTurn(t.Context(), p, wanting(true, "aOne", "aTwo", "bOne", "compiled")); err == nil {
		t.Error("the object could not be read, but nobody says so")
	}
	server.mu.Lock()
	server.gone = false
	server.mu.Unlock()
	apply(wanting(true, "aOne", "aTwo", "bOne", "compiled"))
	expect("after a failure only what is missing", "aTwo")
	lose()
	if p.Describe()[0] != "stands by for the lease" {
		t.Error(p.Describe())
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	expect("in the end")
}

// TestEventPlaneHandover expects a replica that loses the Lease while it writes
// to finish first, so that two never write at once.
func TestEventPlaneHandover(t *testing.T) {
	p := &eventPlane{leadership: newLeadership()}
	lose := leading(t, p)
	leased, release, err := p.Turn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	lost := make(chan struct{})
	go func() { lose(); close(lost) }()
	select {
	case <-lost:
		t.Fatal("the Lease went away in the middle of a write")
	case <-leased.Done(): // what is under way is told to stop
	}
	select {
	case <-lost:
		t.Fatal("the Lease went away in the middle of a write")
	case <-time.After(30 * time.Millisecond):
	}
	lose = leading(t, p) // the Lease is won again before the write has ended
	time.Sleep(30 * time.Millisecond)
	release()
	<-lost
	leased, release, err = p.Turn(t.Context())
	if err != nil || leased.Err() != nil || !p.leading.Load() {
		t.Fatalf("with the Lease again: %v, %v, leading %v", err, leased.Err(), p.leading.Load())
	}
	release()
	lose()
}

func TestStandby(t *testing.T) {
	p := newEventPlane(nil)
	health := p.standby(func() reconcile.Health { return reconcile.Health{Wanted: 5, Problem: "waits"} })
	if h := health(); !h.Healthy() || h.Applied != 5 {
		t.Errorf("standing by: %+v", h)
	}
	p.leading.Store(true)
	if h := health(); h.Healthy() || h.Applied != 0 {
		t.Errorf("leading: %+v", h)
	}
}
