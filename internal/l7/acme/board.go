package acme

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/fairlead-net/fairlead/internal/desired"
)

// board is the Secret from which all replicas read their Answers.
type board struct {
	store Store
	name  desired.Name
	mu    sync.Mutex
}

// put adds answers, and forgets those whose time is over.
func (b *board) put(ctx context.Context, answers ...answer) error {
	for _, a := range answers {
		if err := a.check(); err != nil {
			return fmt.Errorf("the authority's challenge for %s cannot be answered: %w", a.Host, err)
		}
	}
	return b.change(ctx, func(data map[string][]byte) error {
		now := time.Now()
		for key, text := range data {
			var old answer
			if json.Unmarshal(text, &old) != nil || old.Until.Before(now) {
				delete(data, key)
			}
		}
		if len(data)+len(answers) > maxAnswers {
			return fmt.Errorf("there are %d challenges at work already", len(data))
		}
		for _, a := range answers {
			a.Until = now.Add(answerFor * time.Second)
			text, err := json.Marshal(a)
			if err != nil {
				return err
			}
			data[a.key()] = text
		}
		return nil
	})
}

// remove takes answers away.
func (b *board) remove(ctx context.Context, answers ...answer) error {
	return b.change(ctx, func(data map[string][]byte) error {
		for _, a := range answers {
			delete(data, a.key())
		}
		return nil
	})
}

func (b *board) change(ctx context.Context, edit func(data map[string][]byte) error) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return update(ctx, b.store, b.name, edit)
}

// update changes the data of a Secret of this package's own. What a Store has may be
// old, so it is tried for a while.
func update(ctx context.Context, store Store, name desired.Name, edit func(data map[string][]byte) error) error {
	for attempt := 0; ; attempt++ {
		s, _, err := store.Get(ctx, name)
		if err != nil {
			return fmt.Errorf("reading Secret %s: %w", name, err)
		}
		data := maps.Clone(s.Data)
		if data == nil {
			data = map[string][]byte{}
		}
		if err := edit(data); err != nil {
			return err
		}
		err = store.Put(ctx, name, Secret{Type: TypeOpaque, Ours: true, Data: data, Version: s.Version})
		if err == nil {
			return nil
		}
		if !errors.Is(err, ErrConflict) || attempt == 20 {
			return fmt.Errorf("writing Secret %s: %w", name, err)
		}
		if err := sleep(ctx, time.Duration(attempt)*50*time.Millisecond); err != nil {
			return err
		}
	}
}

// sleep waits, at most until ctx ends.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
