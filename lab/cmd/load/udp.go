package main

import (
	"fmt"
	"net"
	"time"

	"github.com/miekg/dns"
)

// answerWithin is how long a UDP packet and its answer may take: they are lost
// otherwise.
const answerWithin = 4 * time.Second

// udp returns how to ask a DNS server once by a new socket, and how to keep a
// socket that is connected to it. Nothing is ever sent twice.
func udp(server, name string) (once func() error, dial func() (session, error)) {
	open := func() (session, error) {
		conn, err := net.Dial("udp", server)
		if err != nil {
			return nil, err
		}
		return &dnsSession{conn, name}, nil
	}
	once = func() error {
		s, err := open()
		if err != nil {
			return err
		}
		defer s.Close()
		return s.exchange()
	}
	return once, open
}

// twice returns how to make an attempt once more, after a pause, if it fails, as a
// resolver does, and counts what then succeeds.
func (r *recorder) twice(once func() error, pause time.Duration) func() error {
	return func() error {
		first := once()
		if first == nil {
			return nil
		}
		at := time.Now()
		time.Sleep(pause)
		if err := once(); err != nil {
			return fmt.Errorf("%w; before that %w", err, first)
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.report.Repeated++
		r.note(at, fmt.Errorf("asked again: %w", first))
		return nil
	}
}

type dnsSession struct {
	net.Conn
	name string
}

func (s *dnsSession) exchange() error {
	query := new(dns.Msg)
	query.SetQuestion(dns.Fqdn(s.name), dns.TypeA)
	packed, err := query.Pack()
	if err != nil {
		return err
	}
	if err := s.SetDeadline(time.Now().Add(answerWithin)); err != nil {
		return err
	}
	if _, err := s.Write(packed); err != nil {
		return err
	}
	buffer := make([]byte, 4096)
	for {
		n, err := s.Read(buffer)
		if err != nil {
			return err
		}
		answer := new(dns.Msg)
		if err := answer.Unpack(buffer[:n]); err != nil {
			return err
		}
		switch {
		case answer.Id != query.Id: // late, of the question before
		case answer.Rcode != dns.RcodeSuccess || len(answer.Answer) == 0:
			return fmt.Errorf("the server answers %s with %d records", dns.RcodeToString[answer.Rcode], len(answer.Answer))
		default:
			return nil
		}
	}
}
