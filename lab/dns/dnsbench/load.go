package main

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/bits"
	"net/netip"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"
)

// sockets is how many the load uses, so that the kernel has flows to spread.
const sockets = 16

// task is what the load does once.
type task struct {
	server  netip.AddrPort
	queries [][]byte
	// pid is the server's process, whose CPU time is read.
	pid int
	// cpu is a processor, all of whose time is read instead, unless it is less than 0.
	cpu int
	// rate is how many queries a second are sent; at 0 the next is sent when there
	// are less than window without a reply on a socket.
	rate   float64
	window int
	// warmup comes before length, and is not counted.
	warmup, length time.Duration
}

// outcome is what the server did meanwhile.
type outcome struct {
	Answered, Lost int
	// NoError are replies with records, NXDomain and Other the rest.
	NoError, NXDomain, Other int
	Elapsed, CPU             time.Duration
	P50, P99                 time.Duration
}

// perCPU is how many queries a second of the server's CPU time answered.
func (o outcome) perCPU() float64 { return float64(o.Answered) / o.CPU.Seconds() }

func loadMain(args []string) error {
	var t task
	var path string
	flags := flag.NewFlagSet("load", flag.ContinueOnError)
	flags.TextVar(&t.server, "server", netip.AddrPort{}, "")
	flags.StringVar(&path, "queries", "", "file of queries")
	flags.IntVar(&t.pid, "pid", 0, "process of the server")
	flags.IntVar(&t.cpu, "cpu", -1, "processor of the server, all of whose time counts")
	flags.Float64Var(&t.rate, "rate", 0, "queries a second; 0 means as fast as they are answered")
	// All that is under way fits in the receive buffer that a socket of a server
	// has by default, about 270 small packets.
	flags.IntVar(&t.window, "window", 12, "queries under way, for each socket")
	flags.DurationVar(&t.warmup, "warmup", 500*time.Millisecond, "")
	flags.DurationVar(&t.length, "length", time.Second, "")
	if err := flags.Parse(args); err != nil {
		return err
	}
	var err error
	if t.queries, err = readQueries(path); err != nil {
		return err
	}
	o, err := t.run()
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(o)
}

// lane is a socket with what is under way on it.
type lane struct {
	*socket
	sent  [1 << 16]time.Time // by ID; zero if answered or given up
	next  uint16
	open  int       // queries without a reply
	heard time.Time // when the last reply came
}

// patience is how long a lane is silent before its queries count as lost.
const patience = time.Second

// load is a task under way.
type load struct {
	*task
	lanes   []*lane
	next    int // the next query
	sent    int // queries sent since start
	start   time.Time
	latency histogram
	outcome
}

func (t *task) run() (outcome, error) {
	runtime.LockOSThread()
	l := &load{task: t}
	for range sockets {
		s, err := dial(t.server)
		if err != nil {
			return outcome{}, err
		}
		l.lanes = append(l.lanes, &lane{socket: s, heard: time.Now()})
	}
	if err := l.work(t.warmup); err != nil {
		return outcome{}, err
	}
	l.outcome, l.latency = outcome{}, histogram{}
	used := t.clock()
	before, err := used()
	if err != nil {
		return outcome{}, err
	}
	start := time.Now()
	err = l.work(t.length)
	after, failure := used()
	l.Elapsed, l.CPU = time.Since(start), after-before
	l.P50, l.P99 = l.latency.quantile(0.5), l.latency.quantile(0.99)
	for _, lane := range l.lanes {
		err = errors.Join(err, unix.Close(lane.fd))
	}
	return l.outcome, errors.Join(err, failure)
}

// work sends and receives for a time, without ever sleeping: the processor is its
// own.
func (l *load) work(length time.Duration) error {
	l.start, l.sent = time.Now(), 0
	for now := l.start; now.Sub(l.start) < length; {
		for _, lane := range l.lanes {
			if err := l.take(lane); err != nil {
				return err
			}
			now = time.Now()
			n := l.window - lane.open
			if l.rate > 0 {
				n = min(n, int(l.rate*now.Sub(l.start).Seconds())-l.sent)
			}
			if err := l.give(lane, min(n, batch), now); err != nil {
				return err
			}
		}
	}
	return nil
}

// give sends n queries.
func (l *load) give(lane *lane, n int, now time.Time) error {
	if n <= 0 {
		return nil
	}
	for i := range n {
		lane.set(i, l.queries[(l.next+i)%len(l.queries)], lane.next+uint16(i))
	}
	done, err := lane.send(n)
	for i := range done {
		lane.sent[lane.next+uint16(i)] = l.due(i, now)
	}
	lane.next += uint16(done)
	lane.open, l.next, l.sent = lane.open+done, l.next+done, l.sent+done
	return err
}

// due returns when a query was to be sent, from when on its reply is waited for:
// at a given rate, a query that had to wait for others was late because of them.
func (l *load) due(i int, now time.Time) time.Time {
	if l.rate == 0 {
		return now
	}
	return l.start.Add(time.Duration(float64(l.sent+i) / l.rate * float64(time.Second)))
}

// take receives what has come.
func (l *load) take(lane *lane) error {
	n, err := lane.receive()
	if err != nil {
		return err
	}
	now := time.Now()
	if n == 0 {
		if lane.open > 0 && now.Sub(lane.heard) > patience {
			l.Lost, lane.open = l.Lost+lane.open, 0
			lane.sent = [1 << 16]time.Time{}
			lane.heard = now
		}
		return nil
	}
	lane.heard = now
	for i := range n {
		reply := lane.reply(i)
		if len(reply) < 12 {
			return fmt.Errorf("a reply of %d bytes", len(reply))
		}
		at := &lane.sent[binary.BigEndian.Uint16(reply)]
		if at.IsZero() {
			continue // given up, or not asked
		}
		l.latency.add(now.Sub(*at))
		*at = time.Time{}
		lane.open--
		l.Answered++
		switch rcode, answers := int(reply[3]&15), binary.BigEndian.Uint16(reply[6:]); {
		case rcode == dns.RcodeNameError:
			l.NXDomain++
		case rcode == dns.RcodeSuccess && answers > 0:
			l.NoError++
		default:
			l.Other++
		}
	}
	return nil
}

// histogram counts durations in steps of a sixteenth of a power of two.
type histogram struct {
	counts [64 * 16]int
	total  int
}

func (h *histogram) add(d time.Duration) {
	n := uint64(max(d, 16))
	shift := bits.Len64(n) - 5
	h.counts[shift*16+int(n>>shift)-16]++
	h.total++
}

// quantile returns the upper end of the step that holds a quantile.
func (h *histogram) quantile(q float64) time.Duration {
	left := int(q * float64(h.total))
	for i, n := range h.counts {
		if left -= n; left < 0 {
			return time.Duration(16+i%16+1) << (i / 16)
		}
	}
	return 0
}

// clock returns what tells how long the server has worked.
func (t *task) clock() func() (time.Duration, error) {
	if t.cpu < 0 {
		return func() (time.Duration, error) { return cpuTime(t.pid) }
	}
	began := time.Now()
	return func() (time.Duration, error) {
		idle, err := idleTime(t.cpu)
		return time.Since(began) - idle, err
	}
}

// idleTime returns how long a processor has done nothing, or was not there, as the
// host of a virtual machine had it do other things.
func idleTime(cpu int) (time.Duration, error) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		// After the name: user, nice, system, idle, iowait, irq, softirq, steal, in
		// hundredths of a second (proc_stat(5)).
		if fields := strings.Fields(line); len(fields) > 8 && fields[0] == fmt.Sprint("cpu", cpu) {
			var sum int64
			for _, i := range []int{4, 5, 8} {
				n, err := strconv.ParseInt(fields[i], 10, 64)
				if err != nil {
					return 0, err
				}
				sum += n
			}
			return time.Duration(sum) * 10 * time.Millisecond, nil
		}
	}
	return 0, fmt.Errorf("the kernel does not know of processor %d", cpu)
}

// cpuTime returns what a process has used, of user and kernel.
func cpuTime(pid int) (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, fmt.Errorf("the server has ended: %w", err)
	}
	// The name in parentheses may hold anything; after it, utime and stime are the
	// 12th and 13th fields, in hundredths of a second (proc_pid_stat(5)).
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	user, err := strconv.ParseInt(fields[11], 10, 64)
	kernel, failure := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(user+kernel) * 10 * time.Millisecond, errors.Join(err, failure)
}
