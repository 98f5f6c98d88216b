package htpasswd

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"
)

// waits is how many of an owner wait.
func (t *turns) waits(name string) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	if one := t.of[name]; one != nil {
		return len(one.queue)
	}
	return 0
}

// TestTurns holds in which order owners have their turns: one whose hashes take ten times
// as long has one while others, together, have as much time, and one that comes anew has
// not saved up any.
func TestTurns(t *testing.T) {
	now := time.Unix(0, 0)
	u := newTurns(1, 100, func() time.Time { return now })
	first, ok := u.enter(context.Background(), "first")
	if !ok {
		t.Fatal("there is no place")
	}
	turn := make(chan string)
	proceed := make(chan struct{})
	var wait sync.WaitGroup
	begin := func(name string, n int) {
		for range n {
			before := u.waits(name)
			wait.Go(func() {
				leave, ok := u.enter(context.Background(), name)
				if !ok {
					t.Error(name, "has no turn")
					return
				}
				turn <- name
				<-proceed
				leave()
			})
			for u.waits(name) == before {
				time.Sleep(time.Millisecond)
			}
		}
	}
	took := map[string]time.Duration{"slow": 10 * time.Second, "quick": time.Second, "late": time.Second}
	begin("slow", 4)
	begin("quick", 14)
	var order strings.Builder
	go first()
	for i := range 20 {
		name := <-turn
		order.WriteByte(name[0])
		if i == 10 {
			begin("late", 2)
		}
		now = now.Add(took[name])
		proceed <- struct{}{}
	}
	wait.Wait()
	// At equal times that one goes first whose name does. The late one begins where the
	// others are.
	if got := order.String(); got != "qsqqqqqqqqqllqsqqqss" {
		t.Errorf("turns of %s", got)
	}
	if len(u.of) > 2 || u.busy != 0 {
		t.Errorf("%d owners, %d busy", len(u.of), u.busy)
	}
}

// TestOwnersApart holds that an owner with as many waiting as there may be keeps nobody
// else from waiting, and that who gives up leaves no place taken.
func TestOwnersApart(t *testing.T) {
	u := newTurns(2, 3, time.Now)
	var leave []func()
	for range 2 {
		end, ok := u.enter(context.Background(), "many")
		if !ok {
			t.Fatal("there is no place")
		}
		leave = append(leave, end)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wait sync.WaitGroup
	for range 3 {
		wait.Go(func() { u.enter(ctx, "many") })
	}
	for u.waits("many") < 3 {
		time.Sleep(time.Millisecond)
	}
	if _, ok := u.enter(context.Background(), "many"); ok {
		t.Error("one more waits than may")
	}
	got := make(chan func(), 1)
	wait.Go(func() {
		end, ok := u.enter(context.Background(), "few")
		if !ok {
			t.Error("another may not wait")
		}
		got <- end
	})
	for u.waits("few") < 1 {
		time.Sleep(time.Millisecond)
	}
	leave[0]()
	end := <-got // though the others came before
	if u.waits("many") != 3 {
		t.Errorf("%d wait", u.waits("many"))
	}
	cancel()
	leave[1]()
	end()
	wait.Wait()
	// The turn of one that gave up has come to nobody's harm.
	for u.mu.Lock(); u.busy > 0; u.mu.Lock() {
		u.mu.Unlock()
		time.Sleep(time.Millisecond)
	}
	u.mu.Unlock()
}
