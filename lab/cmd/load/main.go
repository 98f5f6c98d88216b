// Command load is a client that notices everything: it opens new connections at
// a steady rate, holds others open, looks names up, and counts what fails.
//
// In: an address, a rate, a time. Out: one line of JSON. It ends by itself.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync"
	"time"
)

// report is what is printed at the end.
type report struct {
	Attempts int `json:"attempts"`
	Failures int `json:"failures"`
	// Held connections, and those of them that broke.
	Held   int `json:"held"`
	Broken int `json:"broken"`
	// SlowestMillis is the longest successful attempt.
	SlowestMillis int64 `json:"slowestMillis"`
	// OutageMillis is the longest time between two successes with a failure in
	// between.
	OutageMillis int64    `json:"outageMillis"`
	Errors       []string `json:"errors,omitempty"`
}

type recorder struct {
	mu          sync.Mutex
	report      report
	lastSuccess time.Time
	failing     bool
}

func (r *recorder) attempt(started time.Time, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	r.report.Attempts++
	if err != nil {
		r.report.Failures++
		r.failing = true
		r.note(now, err)
		return
	}
	r.report.SlowestMillis = max(r.report.SlowestMillis, now.Sub(started).Milliseconds())
	if r.failing {
		r.report.OutageMillis = max(r.report.OutageMillis, now.Sub(r.lastSuccess).Milliseconds())
	}
	r.lastSuccess, r.failing = now, false
}

func (r *recorder) broke(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.report.Broken++
	r.note(time.Now(), err)
}

func (r *recorder) note(at time.Time, err error) {
	if len(r.report.Errors) < 10 {
		r.report.Errors = append(r.report.Errors, at.Format("15:04:05.000 ")+err.Error())
	}
}

func main() {
	address := flag.String("connect", "", "HOST:PORT of an HTTP server to connect to")
	name := flag.String("resolve", "", "look this name up instead of connecting")
	rate := flag.Int("rate", 200, "attempts a second")
	hold := flag.Int("hold", 0, "connections to hold open, with a request on each every second")
	duration := flag.Duration("duration", 10*time.Second, "how long")
	flag.Parse()
	if *address == "" && *name == "" || *rate < 1 || *duration > 10*time.Minute {
		fmt.Fprintln(os.Stderr, "load: needs --connect HOST:PORT or --resolve NAME, a rate of at least 1, a duration of at most 10m")
		os.Exit(2)
	}
	ctx, cancel := context.WithTimeout(context.Background(), *duration)
	defer cancel()
	r := &recorder{lastSuccess: time.Now()}
	var running sync.WaitGroup
	for range *hold {
		running.Go(func() { r.hold(ctx, *address) })
	}
	r.report.Held = *hold
	once := func() error { return request(*address) }
	if *name != "" {
		once = func() error { return resolve(*name) }
	}
	tick := time.NewTicker(time.Second / time.Duration(*rate))
	defer tick.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-tick.C:
			running.Go(func() {
				started := time.Now()
				r.attempt(started, once())
			})
		}
	}
	running.Wait()
	if err := json.NewEncoder(os.Stdout).Encode(r.report); err != nil {
		os.Exit(1)
	}
}

const patience = 10 * time.Second

// request makes one connection with one request on it.
func request(address string) error {
	conn, err := net.DialTimeout("tcp", address, patience)
	if err != nil {
		return err
	}
	defer conn.Close()
	return exchange(conn, bufio.NewReader(conn), address, "close")
}

func exchange(conn net.Conn, answers *bufio.Reader, address, connection string) error {
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: %s\r\nConnection: %s\r\n\r\n", address, connection); err != nil {
		return err
	}
	answer, err := http.ReadResponse(answers, nil)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	buffer := make([]byte, 4096)
	for err == nil {
		_, err = answer.Body.Read(buffer)
	}
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("status %s", answer.Status)
	}
	return nil
}

// hold keeps one connection until ctx ends.
func (r *recorder) hold(ctx context.Context, address string) {
	conn, err := net.DialTimeout("tcp", address, patience)
	if err != nil {
		r.broke(err)
		return
	}
	defer conn.Close()
	answers := bufio.NewReader(conn)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		if err := exchange(conn, answers, address, "keep-alive"); err != nil {
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

// resolve looks a name up as a program does that asks once: what the resolver
// itself repeats, by its configuration, counts as one attempt.
func resolve(name string) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_, err := (&net.Resolver{PreferGo: true}).LookupHost(ctx, name)
	return err
}
