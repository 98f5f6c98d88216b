package proxy

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestBreaker holds that never more are under way than may be, that those who wait have
// their turn in order, and that nobody waits while there is room.
func TestBreaker(t *testing.T) {
	var b breaker
	never := make(chan struct{})
	if ok, _ := b.enter(2, 0, time.Hour, never); !ok {
		t.Fatal("there is room")
	}
	b.enter(2, 0, time.Hour, never)
	if ok, why := b.enter(2, 0, time.Hour, never); ok || why != boundRequests {
		t.Error(ok, why)
	}
	if ok, why := b.enter(2, 1, time.Nanosecond, never); ok || why != boundWait {
		t.Error(ok, why)
	}
	order := make(chan int, 10)
	for i := range 3 {
		go func() {
			ok, _ := b.enter(2, 3, time.Hour, never)
			if !ok {
				i = -1
			}
			order <- i
		}()
		for b.waiting.Load() != int64(i+1) {
			runtime.Gosched()
		}
	}
	if ok, why := b.enter(2, 3, time.Hour, never); ok || why != boundPending {
		t.Error(ok, why)
	}
	for want := range 3 {
		b.leave()
		if got := <-order; got != want {
			t.Errorf("%d comes as number %d", got, want)
		}
	}
	b.leave()
	b.leave()
	if b.requests.Load() != 0 || b.waiting.Load() != 0 {
		t.Error("somebody is left")
	}
}

// TestBreakerCrowd holds the same of many at once.
func TestBreakerCrowd(t *testing.T) {
	var (
		b         breaker
		now, most atomic.Int64
		all       sync.WaitGroup
		never     = make(chan struct{})
	)
	for range 50 {
		all.Go(func() {
			for range 200 {
				if ok, why := b.enter(3, 100, time.Minute, never); !ok {
					t.Errorf("refused: %s", why)
					return
				}
				if n := now.Add(1); n > most.Load() {
					most.Store(n)
				}
				runtime.Gosched()
				now.Add(-1)
				b.leave()
			}
		})
	}
	all.Wait()
	if most.Load() > 3 || b.requests.Load() != 0 {
		t.Errorf("%d were under way, %d are", most.Load(), b.requests.Load())
	}
}
