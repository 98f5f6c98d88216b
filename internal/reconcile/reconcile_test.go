package reconcile

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"
)

// recorder is a Plane that fails as often as it is told to.
type recorder struct {
	fail    int
	hold    time.Duration
	applied []uint64
	closed  bool
}

func (r *recorder) Apply(_ context.Context, want uint64) error {
	time.Sleep(r.hold)
	if r.fail > 0 {
		r.fail--
		return errors.New("the kernel said no")
	}
	r.applied = append(r.applied, want)
	return nil
}

func (r *recorder) Close() error { r.closed = true; return nil }

func start(t *testing.T, plane *recorder) *Loop[uint64] {
	loop := New("test", plane, func(v uint64) uint64 { return v }, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- loop.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil || !plane.closed {
			t.Errorf("Run = %v, closed %t", err, plane.closed)
		}
	})
	return loop
}

func TestRetriesUntilApplied(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		plane := &recorder{fail: 4}
		loop := start(t, plane)
		loop.Offer(7)
		synctest.Wait()
		if h := loop.Health(); h.Problem != "the kernel said no" || h.Healthy() || h.Wanted != 7 || h.Applied != 0 {
			t.Errorf("after a failure: %+v", h)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if h := loop.Health(); !h.Healthy() || h.Applied != 7 || h.Failures != 4 || h.Applies != 5 {
			t.Errorf("after the retries: %+v", h)
		}
	})
}

func TestLatestValueWins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		plane := &recorder{hold: time.Second}
		loop := start(t, plane)
		loop.Offer(1)
		synctest.Wait()
		for v := uint64(2); v <= 9; v++ {
			loop.Offer(v)
		}
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if len(plane.applied) != 2 || plane.applied[0] != 1 || plane.applied[1] != 9 {
			t.Errorf("applied %v, want 1 and 9", plane.applied)
		}
	})
}

func TestStuckPlaneIsUnhealthy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		loop := start(t, &recorder{hold: 2 * time.Minute})
		loop.Offer(1)
		time.Sleep(time.Minute)
		if h := loop.Health(); h.Healthy() || h.Problem != "applying for 1m0s and not done" {
			t.Errorf("%+v", h)
		}
		time.Sleep(2 * time.Minute)
		if h := loop.Health(); !h.Healthy() {
			t.Errorf("%+v", h)
		}
	})
}
