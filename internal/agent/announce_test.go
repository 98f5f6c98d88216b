package agent

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fairlead-net/fairlead/internal/desired"
)

// TestOnceServed offers States before the node serves: the last one arrives as soon as
// it does, and later ones at once.
func TestOnceServed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var serves atomic.Bool
		var got []uint64
		p, run := onceServed(serves.Load, pipeline{offer: func(s *desired.State) { got = append(got, s.Revision) }})
		ended := make(chan error, 1)
		go func() { ended <- run(ctx) }()
		expect := func(when string, want ...uint64) {
			t.Helper()
			synctest.Wait()
			if len(got) != len(want) || len(got) > 0 && got[len(got)-1] != want[len(want)-1] {
				t.Fatalf("%s: the pipeline got %d, want %d", when, got, want)
			}
		}
		p.offer(&desired.State{Revision: 1})
		p.offer(&desired.State{Revision: 2})
		time.Sleep(time.Second)
		expect("before it serves")
		serves.Store(true)
		time.Sleep(servesPoll)
		expect("when it serves", 2)
		p.offer(&desired.State{Revision: 3})
		expect("afterwards", 2, 3)
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
