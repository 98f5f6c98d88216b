// Command load is a client that notices everything: it opens new connections at
// a steady rate, holds others open, looks names up, and counts what fails.
//
// As a server it tells each client what address it has.
//
// In: an address or a name, a rate, a time. Out: one line of JSON. It ends by itself.
package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
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
	// Repeated are the attempts that succeeded only when they were made once more.
	Repeated int `json:"repeated"`
	// Held connections, and those of them that broke.
	Held   int `json:"held"`
	Broken int `json:"broken"`
	// SlowestMillis is the longest successful attempt.
	SlowestMillis int64 `json:"slowestMillis"`
	// OutageMillis is the longest time between two successes with a failure in
	// between.
	OutageMillis int64 `json:"outageMillis"`
	// GapMillis is the longest time in which no attempt succeeded, be it that all of
	// them merely waited.
	GapMillis int64 `json:"gapMillis"`
	// LossMillis is the time from the beginning of the first attempt that failed or was
	// late to that of the last: how long packets were lost, be it only some. What is lost
	// is sent again by TCP after a second, so that an attempt which succeeds in the end
	// was begun while packets were lost if it is late.
	LossMillis int64    `json:"lossMillis"`
	Late       int      `json:"late"`
	Errors     []string `json:"errors,omitempty"`
}

type recorder struct {
	mu          sync.Mutex
	report      report
	lastSuccess time.Time
	failing     bool
	// firstLoss and lastLoss are when attempts began that failed or were late.
	firstLoss, lastLoss time.Time
}

// late is what no attempt takes whose packets all arrive.
const late = 500 * time.Millisecond

// lose notes that packets were lost of an attempt that began then.
func (r *recorder) lose(started time.Time) {
	if r.firstLoss.IsZero() || started.Before(r.firstLoss) {
		r.firstLoss = started
	}
	if started.After(r.lastLoss) {
		r.lastLoss = started
	}
	r.report.LossMillis = r.lastLoss.Sub(r.firstLoss).Milliseconds()
}

func (r *recorder) attempt(started time.Time, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	r.report.Attempts++
	if err != nil {
		r.report.Failures++
		r.failing = true
		r.lose(started)
		r.note(now, err)
		return
	}
	if now.Sub(started) > late {
		r.report.Late++
		r.lose(started)
	}
	r.report.SlowestMillis = max(r.report.SlowestMillis, now.Sub(started).Milliseconds())
	if r.failing {
		r.report.OutageMillis = max(r.report.OutageMillis, now.Sub(r.lastSuccess).Milliseconds())
	}
	r.report.GapMillis = max(r.report.GapMillis, now.Sub(r.lastSuccess).Milliseconds())
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
	path := flag.String("path", "/", "what to ask the HTTP server for")
	host := flag.String("host", "", "the Host to ask for, if it is not what is connected to")
	status := flag.Int("status", http.StatusOK, "the status that the HTTP server is to answer with")
	name := flag.String("resolve", "", "look this name up instead of connecting")
	server := flag.String("server", "", "ADDRESS:PORT of the DNS server to ask, by one UDP packet that is never repeated; without it, as the resolver does")
	again := flag.Duration("again", 0, "ask --server once more, by a new socket, this long after it is known that the first packet has no good answer (0: not at all)")
	rate := flag.Int("rate", 200, "attempts a second")
	hold := flag.Int("hold", 0, "connections to hold open, with a request on each every second")
	serve := flag.Uint("serve", 0, "instead of all this, answer at this port, by HTTP and UDP, with the client's address")
	each := flag.Bool("each", false, "connect once to each HOST:PORT that comes on standard input, one a line, at --rate")
	who := flag.String("who", "", "tcp or udp: ask the server at --connect, one that serves, for this client's address, and print it")
	names := flag.Int("appear", 0, "wait for so many names, --resolve with %d in it, to have an address at --server one after the other, and print when each had")
	duration := flag.Duration("duration", 10*time.Second, "how long")
	flag.Parse()
	if *address == "" && *name == "" && *serve == 0 && !*each || *rate < 1 || *duration > 10*time.Minute {
		fmt.Fprintln(os.Stderr, "load: needs --connect HOST:PORT, --resolve NAME, --each or --serve PORT, a rate of at least 1, a duration of at most 10m")
		os.Exit(2)
	}
	ctx, cancel := context.WithTimeout(context.Background(), *duration)
	defer cancel()
	if *serve != 0 || *who != "" {
		check(addresses(ctx, uint16(*serve), *who, *address))
		return
	}
	if *names > 0 {
		times, err := appear(ctx, *server, *name, *names)
		if err == nil {
			err = json.NewEncoder(os.Stdout).Encode(times)
		}
		check(err)
		return
	}
	r := &recorder{lastSuccess: time.Now()}
	var running sync.WaitGroup
	once, dial := tcp(*address, target{*host, *path, *status})
	switch {
	case *server != "":
		once, dial = udp(*server, *name)
		if *again > 0 {
			once = r.twice(once, *again)
		}
	case *name != "":
		once = func() error { return resolve(*name) }
	}
	for i := range *hold {
		running.Go(func() { r.hold(ctx, dial, time.Second*time.Duration(i)/time.Duration(*hold)) })
	}
	r.report.Held = *hold
	if *each {
		r.each(ctx, os.Stdin, *rate)
	} else {
		r.steadily(ctx, *rate, func() func() error { return once })
	}
	running.Wait()
	check(json.NewEncoder(os.Stdout).Encode(r.report))
}

// check ends the program if there is an error.
func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
}

// steadily makes attempts at a rate until ctx ends or there is no next one.
func (r *recorder) steadily(ctx context.Context, rate int, next func() func() error) {
	var running sync.WaitGroup
	defer running.Wait()
	tick := time.NewTicker(time.Second / time.Duration(rate))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		once := next()
		if once == nil {
			return
		}
		running.Go(func() {
			started := time.Now()
			r.attempt(started, once())
		})
	}
}

// each connects once to each of the addresses that in has, one a line.
func (r *recorder) each(ctx context.Context, in io.Reader, rate int) {
	lines := bufio.NewScanner(in)
	r.steadily(ctx, rate, func() func() error {
		if !lines.Scan() {
			return nil
		}
		address := lines.Text()
		return func() error {
			conn, err := net.DialTimeout("tcp", address, patience)
			if err != nil {
				return err
			}
			return conn.Close()
		}
	})
}

const patience = 10 * time.Second

// session is something that stays open and can be used again.
type session interface {
	exchange() error
	Close() error
}

// target is what an HTTP server is asked for, and how it is to answer.
type target struct {
	host, path string
	status     int
}

// errEnded is that the server has answered and wants to end the connection.
var errEnded = errors.New("the server ends the connection")

// tcp returns how to make one request to an HTTP server on a new connection, and
// how to keep a connection.
func tcp(address string, to target) (once func() error, dial func() (session, error)) {
	open := func(connection string) (*httpSession, error) {
		conn, err := net.DialTimeout("tcp", address, patience)
		if err != nil {
			return nil, err
		}
		request := fmt.Sprintf("GET %s HTTP/1.1\r\nHost: %s\r\nConnection: %s\r\n\r\n", to.path, cmp.Or(to.host, address), connection)
		return &httpSession{conn, bufio.NewReader(conn), request, to.status}, nil
	}
	once = func() error {
		s, err := open("close")
		if err != nil {
			return err
		}
		defer s.Close()
		if err := s.exchange(); err != nil && !errors.Is(err, errEnded) {
			return err
		}
		return nil
	}
	return once, func() (session, error) { return open("keep-alive") }
}

type httpSession struct {
	net.Conn
	answers *bufio.Reader
	request string
	status  int
}

func (s *httpSession) exchange() error {
	if err := s.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if _, err := s.Write([]byte(s.request)); err != nil {
		return err
	}
	answer, err := http.ReadResponse(s.answers, nil)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if _, err := io.Copy(io.Discard, answer.Body); err != nil {
		return err
	}
	switch {
	case answer.StatusCode != s.status:
		return fmt.Errorf("status %s", answer.Status)
	case answer.Close:
		return errEnded
	}
	return nil
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

// resolve looks a name up as a program does that asks once: what the resolver
// itself repeats, by its configuration, counts as one attempt.
func resolve(name string) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_, err := (&net.Resolver{PreferGo: true}).LookupHost(ctx, name)
	return err
}
