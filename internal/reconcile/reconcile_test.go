package reconcile

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// recorder is a Plane that fails as often as it is told to.
type recorder struct {
	mu      sync.Mutex
	fail    int
	partly  error // what Apply returns of a value that it applied
	hold    time.Duration
	applied []uint64
	closed  bool
}

func (r *recorder) Apply(_ context.Context, want uint64) error {
	r.mu.Lock()
	hold := r.hold
	r.mu.Unlock()
	time.Sleep(hold)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fail > 0 {
		r.fail--
		return errors.New("the kernel said no")
	}
	r.applied = append(r.applied, want)
	return Partial(r.partly)
}

// set changes what Apply does from now on.
func (r *recorder) set(fail int, hold time.Duration, partly error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fail, r.hold, r.partly = fail, hold, partly
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

// turner is a recorder that works while it has one of the turns.
type turner struct {
	recorder
	turns chan context.Context
}

func (p *turner) Turn(ctx context.Context) (context.Context, func(), error) {
	select {
	case turn := <-p.turns:
		return turn, func() { p.turns <- turn }, nil
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	}
}

// TestTurns expects a plane that waits for its turn, before the first and between two,
// to get what is wanted when the turn begins, and not what was when the waiting did.
func TestTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		plane := &turner{turns: make(chan context.Context, 1)}
		loop := New("test", plane, func(v uint64) uint64 { return v }, slog.New(slog.DiscardHandler))
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- loop.Run(ctx) }()
		offer := func(values ...uint64) {
			for _, v := range values {
				loop.Offer(v)
				synctest.Wait()
			}
		}
		offer(1, 2, 3)
		plane.turns <- ctx
		synctest.Wait()
		<-plane.turns
		offer(4, 5)
		plane.turns <- ctx
		synctest.Wait()
		offer(6)
		if want := []uint64{3, 5, 6}; !slices.Equal(plane.applied, want) {
			t.Errorf("applied %v, want %v", plane.applied, want)
		}
		if h := loop.Health(); !h.Healthy() || h.Applied != 6 || h.Lag != 0 {
			t.Errorf("in the end: %+v", h)
		}
		<-plane.turns
		offer(7)
		cancel()
		if err := <-done; err != nil || len(plane.applied) != 3 {
			t.Errorf("ended while waiting: %v, applied %v", err, plane.applied)
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

// TestPartial takes what could be applied but for a part for applied, tells the
// problem, and tries again.
func TestPartial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		plane := &recorder{partly: errors.New("one is refused")}
		loop := start(t, plane)
		loop.Offer(3)
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		h := loop.Health()
		if h.Healthy() || !h.Serves() || h.Applied != 3 || h.Lag != 0 || h.Problem != "one is refused" || h.AppliedAt.IsZero() {
			t.Errorf("%+v", h)
		}
		if h.Applies < 10 || h.Applies > 100 {
			t.Errorf("applied %d times in ten minutes", h.Applies)
		}
		plane.set(0, 0, nil)
		time.Sleep(time.Minute)
		synctest.Wait()
		if h := loop.Health(); !h.Healthy() || !h.Serves() {
			t.Errorf("%+v", h)
		}
	})
}

// TestServes goes by what has waited longest, a minute at most.
func TestServes(t *testing.T) {
	for name, c := range map[string]struct {
		fail int
		hold time.Duration
		// lost is when, after the second value, the plane serves no more.
		lost time.Duration
	}{
		"fails": {fail: 1000, lost: time.Minute},
		"hangs": {hold: time.Hour, lost: time.Minute},
		"slow":  {hold: 25 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				plane := &recorder{}
				loop := start(t, plane)
				if loop.Health().Serves() {
					t.Error("serves before anything was applied")
				}
				loop.Offer(1)
				synctest.Wait()
				time.Sleep(time.Hour)
				if h := loop.Health(); !h.Serves() || h.Lag != 0 {
					t.Errorf("nothing new for an hour: %+v", h)
				}
				plane.set(c.fail, c.hold, nil)
				offered := time.Now()
				for v := uint64(2); v < 100; v++ {
					loop.Offer(v)
					synctest.Wait()
					if h, want := loop.Health(), c.lost == 0 || time.Since(offered) <= c.lost; h.Serves() != want {
						t.Fatalf("%s after the second value: %+v", time.Since(offered), h)
					}
					time.Sleep(time.Second)
				}
				plane.set(0, 0, nil)
				time.Sleep(2 * time.Hour)
				synctest.Wait()
				if h := loop.Health(); !h.Serves() || h.Applied != 99 || h.Lag != 0 {
					t.Errorf("at last: %+v", h)
				}
			})
		})
	}
}

// TestOfferAtTheWrongMoment counts a value that comes while another is applied.
func TestOfferAtTheWrongMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		plane := &recorder{hold: 10 * time.Second}
		loop := start(t, plane)
		loop.Offer(1)
		time.Sleep(4 * time.Second)
		loop.Offer(2)
		time.Sleep(4 * time.Second)
		loop.Offer(3)
		time.Sleep(4 * time.Second)
		// 1 is applied; 2 was the first that is not.
		if h := loop.Health(); h.Applied != 1 || h.Lag != 8*time.Second {
			t.Errorf("%+v", h)
		}
		time.Sleep(time.Minute)
		if h := loop.Health(); h.Applied != 3 || h.Lag != 0 {
			t.Errorf("%+v", h)
		}
	})
}

func TestJoin(t *testing.T) {
	one, two, grave := Partial(errors.New("one")), Partial(errors.New("two")), errors.New("grave")
	for _, c := range []struct {
		err     error
		text    string
		partial bool
	}{
		{Join(nil, one), "one", true}, {Join(one, two), "one\ntwo", true}, {Join(one, grave), "one\ngrave", false},
		{Join(grave), "grave", false}, {Join(errors.Join(one, grave)), "one\ngrave", false}, {errors.Join(one, nil), "one", false},
	} {
		if c.err.Error() != c.text || IsPartial(c.err) != c.partial {
			t.Errorf("%q, partial %t; want %q, %t", c.err, IsPartial(c.err), c.text, c.partial)
		}
	}
	if Join(nil, nil) != nil || Partial(nil) != nil || IsPartial(nil) {
		t.Error("nothing is no error")
	}
	if !errors.Is(Partial(grave), grave) {
		t.Error("what is inside is not found")
	}
}
