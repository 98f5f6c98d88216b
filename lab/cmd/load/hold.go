package main

import (
	"context"
	"errors"
	"sync"
	"time"
)

// holding says which sessions are held while attempts are made.
type holding struct {
	count  int
	socket string // the path of WebSockets; empty: the attempts' own
}

// begin opens the sessions, and returns how to wait for their end.
func (h holding) begin(ctx context.Context, r *recorder, address string, to target, dial func() (session, error)) (wait func()) {
	if h.socket != "" {
		to.path = h.socket
		dial = func() (session, error) { return webSocket(address, to) }
	}
	var running sync.WaitGroup
	for i := range h.count {
		running.Go(func() { r.hold(ctx, dial, time.Second*time.Duration(i)/time.Duration(h.count)) })
	}
	r.report.Held = h.count
	return running.Wait
}

// hold keeps one session, with a request every second, until ctx ends. The second
// begins after offset: sessions that all spoke at once would miss what is short.
func (r *recorder) hold(ctx context.Context, dial func() (session, error), offset time.Duration) {
	s, err := dial()
	if err != nil {
		r.broke(err)
		return
	}
	defer func() {
		if s != nil {
			_ = s.Close()
		}
	}()
	time.Sleep(offset)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		err := s.exchange()
		if errors.Is(err, errEnded) {
			// As it was asked to: the next request goes by another one.
			_ = s.Close()
			s, err = dial()
		}
		if err != nil {
			r.broke(err)
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// kept returns how to make an attempt on one of n sessions, which are used in turn. One
// that fails, or that the server ends, is replaced by the next attempt.
func kept(dial func() (session, error), n int) func() error {
	free := make(chan session, n)
	for range n {
		free <- nil // is not open yet
	}
	return func() (err error) {
		s := <-free
		defer func() { free <- s }()
		if s == nil {
			if s, err = dial(); err != nil {
				s = nil // and not one that is no session
				return err
			}
		}
		err = s.exchange()
		if err != nil {
			_ = s.Close()
			s = nil
		}
		if errors.Is(err, errEnded) {
			return nil
		}
		return err
	}
}
