package server

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	tap "github.com/dnstap/golang-dnstap"
	framestream "github.com/farsightsec/golang-framestream"
	"google.golang.org/protobuf/proto"

	"github.com/fairlead-net/fairlead/internal/dns/rules"
)

const (
	// tapMessages and tapBytes are how many messages wait for a collector at most, and
	// how much they take; the directive has a factor for both.
	tapMessages = 10_000
	tapBytes    = 16 << 20
	// tapOverhead is about what a message takes beside those of DNS in it.
	tapOverhead = 500
	// tapTimeout is how long a collector may take to connect, and to take what is sent.
	tapTimeout = 4 * time.Second
	// tapPause is between two attempts to connect, tapReport between two log lines about
	// messages that were left out.
	tapPause  = time.Second
	tapReport = 10 * time.Second
)

// tapStream sends messages to a collector, in Frame Streams. Queries do not wait for it:
// messages that are too many are left out and counted.
type tapStream struct {
	*rules.Tap
	identity, version []byte
	log               *slog.Logger

	mu    sync.Mutex
	queue []*tap.Dnstap
	bytes int
	// wake has something in it while there may be messages.
	wake chan struct{}

	sent, dropped atomic.Uint64
	// told is how many of dropped have been logged, and when that was.
	told   uint64
	toldAt time.Time
}

func newTapStream(t *rules.Tap, identity string, log *slog.Logger) *tapStream {
	return &tapStream{
		Tap: t, identity: []byte(identity), version: []byte(cmp.Or(t.Version, "Fairlead")),
		log: log.With("collector", t.Network+"://"+t.Address), wake: make(chan struct{}, 1),
	}
}

// add puts a message into the queue, with a text that goes with it.
func (s *tapStream) add(m *tap.Message, text string) {
	d := &tap.Dnstap{Type: tap.Dnstap_MESSAGE.Enum(), Identity: s.identity, Version: s.version, Message: m}
	if text != "" {
		d.Extra = []byte(text)
	}
	size := messageSize(d)
	s.mu.Lock()
	full := len(s.queue) >= s.Queue*tapMessages || s.bytes+size > s.Queue*tapBytes
	if !full {
		s.queue = append(s.queue, d)
		s.bytes += size
	}
	s.mu.Unlock()
	if full {
		s.dropped.Add(1)
		return
	}
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func messageSize(d *tap.Dnstap) int {
	return tapOverhead + len(d.Extra) + len(d.Message.QueryMessage) + len(d.Message.ResponseMessage)
}

// take returns all messages of the queue, and empties it.
func (s *tapStream) take() []*tap.Dnstap {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := s.queue
	s.queue, s.bytes = nil, 0
	return all
}

// run sends until ctx ends, and then what is left.
func (s *tapStream) run(ctx context.Context) {
	failure := ""
	for ctx.Err() == nil {
		err := s.connected(ctx)
		if err != nil && err.Error() != failure {
			failure = err.Error()
			s.log.Warn("no connection with the collector of dnstap", "error", err)
		}
		s.report()
		select {
		case <-ctx.Done():
		case <-time.After(tapPause):
		}
	}
}

// connected sends over one connection, until that fails or ctx ends.
func (s *tapStream) connected(ctx context.Context) error {
	conn, err := s.dial(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	// What is left when ctx ends may take as long as one message, and not each of them.
	defer context.AfterFunc(ctx, func() { time.AfterFunc(tapTimeout, func() { conn.Close() }) })()
	writer, err := framestream.NewWriter(conn, &framestream.WriterOptions{
		ContentTypes: [][]byte{[]byte("protobuf:dnstap.Dnstap")}, Bidirectional: true, Timeout: tapTimeout,
	})
	if err != nil {
		return fmt.Errorf("the other end does not speak Frame Streams: %w", err)
	}
	s.log.Info("connected with the collector of dnstap")
	for {
		ended := ctx.Err() != nil
		if err := s.write(writer, s.take()); err != nil {
			return err
		}
		s.report()
		if ended {
			return writer.Close()
		}
		select {
		case <-s.wake:
		case <-ctx.Done():
		}
	}
}

// dial opens a connection.
func (s *tapStream) dial(ctx context.Context) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, tapTimeout)
	defer cancel()
	if s.Network == "unix" {
		return new(net.Dialer).DialContext(ctx, "unix", s.Address)
	}
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", s.Address)
	if err != nil {
		return nil, err
	}
	_ = conn.(*net.TCPConn).SetWriteBuffer(s.WriteBuffer << 20) // any size will do
	if s.Network != "tls" {
		return conn, nil
	}
	host, _, _ := net.SplitHostPort(s.Address)                                                                                // which has been read already
	secure := tls.Client(conn, &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12, InsecureSkipVerify: s.SkipVerify}) //nolint:gosec // if the Corefile says so
	if err := secure.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, err
	}
	return secure, nil
}

// write sends messages. If it cannot, all count as left out.
func (s *tapStream) write(w *framestream.Writer, all []*tap.Dnstap) error {
	err := writeAll(w, all)
	if err != nil {
		s.dropped.Add(uint64(len(all)))
		return err
	}
	s.sent.Add(uint64(len(all)))
	return nil
}

func writeAll(w *framestream.Writer, all []*tap.Dnstap) error {
	for _, d := range all {
		frame, err := proto.Marshal(d)
		if err != nil {
			return err
		}
		if _, err := w.WriteFrame(frame); err != nil {
			return err
		}
	}
	return w.Flush()
}

// report logs from time to time how many messages were left out.
func (s *tapStream) report() {
	n := s.dropped.Load()
	if n == s.told || time.Since(s.toldAt) < tapReport {
		return
	}
	s.log.Warn("messages for dnstap are left out", "messages", n-s.told)
	s.told, s.toldAt = n, time.Now()
}

// tapped returns how many messages each collector was sent, and how many were left out.
func (p *Plane) tapped() map[string][2]uint64 {
	counts := map[string][2]uint64{}
	for _, all := range p.live.Load().taps {
		for _, t := range all {
			name := t.Network + "://" + t.Address
			n := counts[name]
			counts[name] = [2]uint64{n[0] + t.sent.Load(), n[1] + t.dropped.Load()}
		}
	}
	return counts
}
