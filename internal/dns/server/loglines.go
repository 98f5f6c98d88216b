package server

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	wire "github.com/miekg/dns"

	"github.com/fairlead-net/fairlead/internal/dns/corefile"
	"github.com/fairlead-net/fairlead/internal/dns/rules"
)

// maxLines is how many lines about queries wait to be written at most.
const maxLines = 4096

// logLines writes lines about queries. Queries do not wait for it: while there are
// more lines than can be written, some are left out, and their number is logged.
type logLines struct {
	log   *slog.Logger
	lines chan logLine
	left  atomic.Uint64
}

type logLine struct {
	level slog.Level
	text  string
}

func newLogLines(log *slog.Logger) *logLines {
	return &logLines{log: log, lines: make(chan logLine, maxLines)}
}

func (l *logLines) add(level slog.Level, text string) {
	select {
	case l.lines <- logLine{level, text}:
	default:
		l.left.Add(1)
	}
}

// run writes until ctx ends, and then what is left.
func (l *logLines) run(ctx context.Context) {
	for {
		select {
		case line := <-l.lines:
			l.write(line)
			continue
		case <-ctx.Done():
		}
		for len(l.lines) > 0 {
			l.write(<-l.lines)
		}
		return
	}
}

func (l *logLines) write(line logLine) {
	l.log.Log(context.Background(), line.level, line.text) //nolint:sloglint // in the form that the Corefile asks for
	if n := l.left.Swap(0); n > 0 {
		l.log.Warn("lines about queries are left out, as there are more than can be written", "lines", n)
	}
}

// levels are those of CoreDNS's plugin/errors.
var levels = map[string]slog.Level{"debug": slog.LevelDebug, "info": slog.LevelInfo, "warning": slog.LevelWarn, "error": slog.LevelError}

// failureLog logs the failures of a server block, and sums up those that are alike.
type failureLog struct {
	lines *logLines
	sums  []*failureSum
}

// flush logs what is summed up so far.
func (f *failureLog) flush() {
	for _, s := range f.sums {
		s.flush()
	}
}

// failureSum counts failures whose text matches, from the first one for a period.
type failureSum struct {
	corefile.Consolidate
	lines *logLines

	mu    sync.Mutex
	count int
	timer *time.Timer
}

func newFailureLog(e *corefile.Errors, lines *logLines) *failureLog {
	f := &failureLog{lines: lines}
	for _, c := range e.Consolidate {
		f.sums = append(f.sums, &failureSum{Consolidate: c, lines: lines})
	}
	return f
}

// add logs that a question could not be answered because of an error.
func (f *failureLog) add(rcode int, q wire.Question, err error) {
	level := slog.LevelError
	for _, s := range f.sums {
		if !s.Pattern.MatchString(err.Error()) {
			continue
		}
		if level = levels[s.Level]; s.add() {
			return
		}
		break
	}
	f.lines.add(level, fmt.Sprintf("%d %s %s: %v", rcode, wire.CanonicalName(q.Name), wire.Type(q.Qtype), err))
}

// add reports whether a failure is not to be logged by itself.
func (s *failureSum) add() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.count++; s.count > 1 {
		return true
	}
	s.timer = time.AfterFunc(s.Period, s.flush)
	return !s.ShowFirst
}

// flush logs how many there were, and begins anew.
func (s *failureSum) flush() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.timer != nil {
		s.timer.Stop()
	}
	if s.count > 1 || s.count == 1 && !s.ShowFirst {
		s.lines.add(levels[s.Level], fmt.Sprintf("%d errors like '%s' occurred in last %s", s.count, s.Pattern, s.Period))
	}
	s.count = 0
}

// newFailureLogs returns those of the Blocks that have one.
func newFailureLogs(all []Block, lines *logLines) map[*rules.Rules]*failureLog {
	logs := map[*rules.Rules]*failureLog{}
	for _, b := range all {
		if e := b.Rules.Errors(); e != nil && logs[b.Rules] == nil {
			logs[b.Rules] = newFailureLog(e, lines)
		}
	}
	return logs
}

// logReply logs a query and its reply, if its Block wants that.
func (x *exchange) logReply(reply *wire.Msg, size int) {
	if x.block == nil || !x.block.Rules.Logs() {
		return
	}
	line, ok := x.block.Rules.Log(rules.Exchange{
		Client: x.client.forRules(x.network), Request: x.request, Reply: reply,
		RequestSize: x.size, ReplySize: size, Took: time.Since(x.client.now),
	})
	if ok {
		x.plane.lines.add(slog.LevelInfo, line)
	}
}

// forRules returns the client as package rules has it.
func (c client) forRules(n network) rules.Client {
	return rules.Client{Address: c.address.Unmap(), Port: c.port, TCP: n == overTCP, Server: c.server}
}
