// Command load is a client that notices everything: it opens new connections at
// a steady rate, holds others open, looks names up, and counts what fails.
//
// As a server it tells each client what address it has.
//
// In: an address or a name, a rate, a time. Out: one line of JSON. It ends by itself.
package main

import (
	"bufio"
	"context"
	"encoding/json"
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

func usage(text string) {
	fmt.Fprintln(os.Stderr, text)
	os.Exit(2)
}

func main() {
	var to target
	var with holding
	address := flag.String("connect", "", "HOST:PORT of an HTTP server to connect to")
	flag.StringVar(&to.path, "path", "/", "what to ask the HTTP server for")
	flag.StringVar(&to.host, "host", "", "the Host to ask for, if it is not what is connected to")
	flag.IntVar(&to.status, "status", http.StatusOK, "the status that the HTTP server is to answer with")
	flag.BoolVar(&to.tls, "tls", false, "connect by TLS to --host, and take any certificate")
	name := flag.String("resolve", "", "look this name up instead of connecting")
	server := flag.String("server", "", "ADDRESS:PORT of the DNS server to ask, by one UDP packet that is never repeated; without it, as the resolver does")
	again := flag.Duration("again", 0, "ask --server once more, by a new socket, this long after it is known that the first packet has no good answer (0: not at all)")
	rate := flag.Int("rate", 200, "attempts a second")
	keep := flag.Int("keep", 0, "make the attempts on so many connections, which are kept, instead of a new one for each")
	flag.IntVar(&with.count, "hold", 0, "connections to hold open, with a request on each every second")
	flag.StringVar(&with.socket, "websocket", "", "what is held are WebSockets of this path, whose server sends back what it gets")
	serve := flag.Uint("serve", 0, "instead of all this, answer at this port, by HTTP and UDP, with the client's address; by WebSocket at /echo; at /auth whether a request has a ticket")
	each := flag.Bool("each", false, "connect once to each HOST:PORT that comes on standard input, one a line, at --rate")
	who := flag.String("who", "", "tcp or udp: ask the server at --connect, one that serves, for this client's address, and print it")
	names := flag.Int("appear", 0, "wait for so many names, --resolve with %d in it to have an address at --server, or --host at --connect to have --status, one after the other, and print when each had")
	duration := flag.Duration("duration", 10*time.Second, "how long")
	flag.Parse()
	if *address == "" && *name == "" && *serve == 0 && !*each || *rate < 0 || *rate == 0 && with.count == 0 || *duration > 10*time.Minute {
		usage("load: needs --connect HOST:PORT, --resolve NAME, --each or --serve PORT, a rate of at least 1 or --hold, a duration of at most 10m")
	}
	ctx, cancel := context.WithTimeout(context.Background(), *duration)
	defer cancel()
	switch {
	case *serve != 0 || *who != "":
		check(addresses(ctx, uint16(*serve), *who, *address))
		return
	case *names > 0:
		times, err := appear(ctx, *names, numbered(*address, to, *server, *name))
		if err == nil {
			err = json.NewEncoder(os.Stdout).Encode(times)
		}
		check(err)
		return
	}
	r := &recorder{lastSuccess: time.Now()}
	once, dial := tcp(*address, to)
	switch {
	case *server != "":
		once, dial = udp(*server, *name)
		if *again > 0 {
			once = r.twice(once, *again)
		}
	case *name != "":
		once = func() error { return resolve(*name) }
	case *keep > 0:
		once = kept(dial, *keep)
	}
	wait := with.begin(ctx, r, *address, to, dial)
	if *each {
		r.each(ctx, os.Stdin, *rate)
	} else {
		r.steadily(ctx, *rate, func() func() error { return once })
	}
	wait()
	check(json.NewEncoder(os.Stdout).Encode(r.report))
}

// check ends the program if there is an error.
func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
}

// fastest is how often a second something is begun at most; at higher rates several
// attempts begin at once.
const fastest = 500

// steadily makes attempts at a rate until ctx ends or there is no next one; none at
// rate 0.
func (r *recorder) steadily(ctx context.Context, rate int, next func() func() error) {
	var running sync.WaitGroup
	defer running.Wait()
	if rate == 0 {
		<-ctx.Done()
		return
	}
	tick := time.NewTicker(time.Second / time.Duration(min(rate, fastest)))
	defer tick.Stop()
	last, owed := time.Now(), 0.0
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		due := 1
		if rate > fastest {
			// Ticks get lost; what they stood for is made up for, but for long pauses.
			now := time.Now()
			owed = min(owed+now.Sub(last).Seconds()*float64(rate), float64(rate)/10)
			due, last = int(owed), now
			owed -= float64(due)
		}
		for range due {
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

// resolve looks a name up as a program does that asks once: what the resolver
// itself repeats, by its configuration, counts as one attempt.
func resolve(name string) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_, err := (&net.Resolver{PreferGo: true}).LookupHost(ctx, name)
	return err
}
