package proxy

import (
	"errors"
	"io"
	"log/slog"
	"os"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fairlead-net/fairlead/internal/l7/accesslog"
)

// AccessLog says how requests are written down. Requests never wait for that: lines that
// find no room are dropped, and counted.
type AccessLog struct {
	// Format is nil for JSON.
	Format *accesslog.Format
	// Skips says which requests are left out; nil: none.
	Skips *accesslog.Skips
	// Output gets the lines, a batch with each call. If it is nil, the file at Path does;
	// that is opened anew once another file, or none, is there, as rotation makes it.
	Output io.Writer
	Path   string
}

const (
	// maxBook bounds the lines that wait to be written, in bytes; the same again may be
	// under way. They are written once there are batch bytes, or every bookInterval.
	maxBook      = 1 << 20
	batch        = 64 << 10
	bookInterval = 200 * time.Millisecond
	// lastWrite is how long the end of the proxy waits for the last lines.
	lastWrite = time.Second
	// complainAgain is how often the same trouble is logged.
	complainAgain = time.Minute
)

// logbook writes lines, in a goroutine of its own.
type logbook struct {
	AccessLog
	log *slog.Logger
	// mourn is told of a panic.
	mourn func(any)

	mu sync.Mutex
	// buffer holds lines that wait, as many as lines; spare is for those after.
	buffer, spare []byte
	lines         uint64
	wake          chan struct{}
	*lineCounts
	// ended is set once nothing is written any more; retired is closed for that.
	ended   bool
	retired chan struct{}

	file       *os.File
	complained time.Time
}

// lineCounts count lines: those that were dropped had no room, or could not be written.
type lineCounts struct{ written, full, failed atomic.Uint64 }

func newLogbook(a *AccessLog, counts *lineCounts, log *slog.Logger) *logbook {
	b := &logbook{
		AccessLog: *a, log: log, lineCounts: counts, mourn: func(any) {},
		wake: make(chan struct{}, 1), retired: make(chan struct{}),
	}
	// Memory that is not touched costs nothing.
	b.buffer, b.spare = make([]byte, 0, maxBook), make([]byte, 0, maxBook)
	return b
}

// is tells whether lines are written as a says.
func (b *logbook) is(a *AccessLog) bool {
	comparable := func(w io.Writer) bool { return w == nil || reflect.TypeOf(w).Comparable() }
	return comparable(b.Output) && comparable(a.Output) && b.Output == a.Output && b.Path == a.Path &&
		b.Format.Equal(a.Format) && b.Skips.Equal(a.Skips)
}

// add takes a line in, or drops it. It returns false if it is too late for that.
func (b *logbook) add(line []byte) bool {
	b.mu.Lock()
	if b.ended {
		b.mu.Unlock()
		return false
	}
	if len(b.buffer)+len(line) > cap(b.buffer) {
		b.mu.Unlock()
		b.full.Add(1)
		return true
	}
	b.buffer = append(b.buffer, line...)
	b.lines++
	enough := len(b.buffer) >= batch
	b.mu.Unlock()
	if enough {
		select {
		case b.wake <- struct{}{}:
		default:
		}
	}
	return true
}

// run writes until stop is closed, or retired, and then what is left.
func (b *logbook) run(stop <-chan struct{}) {
	ticker := time.NewTicker(bookInterval)
	defer ticker.Stop()
	for {
		select {
		case <-stop:
			b.end()
			return
		case <-b.retired:
			b.end()
			return
		case <-ticker.C:
		case <-b.wake:
		}
		b.flush()
	}
}

// end writes what is left, after which nothing is.
func (b *logbook) end() {
	b.mu.Lock()
	b.ended = true
	b.mu.Unlock()
	b.flush()
	if b.file != nil {
		_ = b.file.Close()
	}
}

// flush writes what waits.
func (b *logbook) flush() {
	b.mu.Lock()
	lines, n := b.buffer, b.lines
	if n == 0 {
		b.mu.Unlock()
		return
	}
	b.buffer, b.lines = b.spare[:0], 0
	b.mu.Unlock()
	err := guard(func() error { return b.write(lines) })
	if bug := (*panicked)(nil); errors.As(err, &bug) {
		b.mourn(bug)
	}
	b.spare = lines[:0] // only here is it used
	if err == nil {
		b.written.Add(n)
		return
	}
	b.failed.Add(n)
	if now := time.Now(); now.Sub(b.complained) > complainAgain {
		b.complained = now
		b.log.Error("the access log cannot be written, its lines are dropped; correct gateway.accessLog.output, or make room", "error", err)
	}
}

func (b *logbook) write(lines []byte) error {
	if b.Output != nil {
		_, err := b.Output.Write(lines)
		return err
	}
	if err := b.open(); err != nil {
		return err
	}
	_, err := b.file.Write(lines)
	return err
}

// open opens the file, unless the one that is open is still at its place.
func (b *logbook) open() error {
	if b.file != nil {
		there, err := os.Stat(b.Path)
		mine, mineErr := b.file.Stat()
		if err == nil && mineErr == nil && os.SameFile(there, mine) {
			return nil
		}
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil // what is open can still be written
		}
		_ = b.file.Close()
		b.file = nil
	}
	file, err := os.OpenFile(b.Path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o640)
	if err == nil {
		b.file = file
	}
	return err
}

// waitForBooks waits for the last lines, also of logs that have been replaced, but not for
// ever: who reads them may be gone.
func (p *Proxy) waitForBooks() {
	done := make(chan struct{})
	go func() {
		p.books.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(lastWrite):
		p.config.Log.Warn("the last lines of the access log could not be written in time")
	}
}
