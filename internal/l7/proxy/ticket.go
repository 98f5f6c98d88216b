package proxy

import (
	"bytes"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/tls"
	"strconv"
	"sync/atomic"
	"time"
)

const (
	// ticketPeriod is how long a key for session tickets makes new ones, ticketPeriods for
	// how many periods after that it is still taken: a client can take a session up again
	// for one to one and a half days. One of the period to come is taken too, as clocks of
	// replicas differ.
	ticketPeriod  = 12 * time.Hour
	ticketPeriods = 2
	// MinTicketSecret is how many bytes a secret for session tickets has at least.
	MinTicketSecret = 32
)

// tickets are the keys that session tickets are made and read with (RFC 5077; RFC 8446,
// section 4.6.1). The Proxy's mu guards them.
type tickets struct {
	secret []byte
	// period is the one that listeners have keys for; 0: each has made its own.
	period atomic.Int64
}

// ticketKeys derives the keys of a moment from a secret (HKDF, RFC 5869): that of the
// period first. Who has the secret has the same, so replicas need not talk to each other.
func ticketKeys(secret []byte, period int64) ([][32]byte, error) {
	var keys [][32]byte
	for _, n := range []int64{period, period - 1, period - ticketPeriods, period + 1} {
		key, err := hkdf.Key(sha256.New, secret, nil, "fairlead session tickets "+strconv.FormatInt(n, 10), 32)
		if err != nil {
			return nil, err
		}
		keys = append(keys, [32]byte(key))
	}
	return keys, nil
}

func ticketPeriodOf(at time.Time) int64 { return at.Unix() / int64(ticketPeriod/time.Second) }

// SetTicketSecret makes session tickets those of everyone who has the secret, of at least
// MinTicketSecret bytes: a client takes its session up again with any replica. The keys
// themselves are others every ticketPeriod. A shorter one, as none, changes nothing:
// without a secret each listener has keys of its own.
func (p *Proxy) SetTicketSecret(secret []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(secret) < MinTicketSecret || bytes.Equal(secret, p.tickets.secret) {
		return
	}
	p.tickets.secret = bytes.Clone(secret)
	p.turnTickets(ticketPeriodOf(time.Now()))
}

// turnTickets gives all listeners the keys of a period; mu is held.
func (p *Proxy) turnTickets(period int64) {
	p.tickets.period.Store(period)
	for _, l := range p.listeners {
		p.giveTickets(l.tls)
		if l.quic != nil {
			p.giveTickets(l.quic.tls)
		}
	}
}

// giveTickets gives a listener the keys of the period, if there is a secret; mu is held.
func (p *Proxy) giveTickets(to *tls.Config) {
	if to == nil || len(p.tickets.secret) == 0 {
		return
	}
	keys, err := ticketKeys(p.tickets.secret, p.tickets.period.Load())
	if err != nil {
		p.config.Log.Error("no keys can be made for session tickets, those before stay", "error", err)
		return
	}
	to.SetSessionTicketKeys(keys)
}

// lookAtTickets turns to the keys of the next period when that has begun.
func (p *Proxy) lookAtTickets(at time.Time) {
	known, now := p.tickets.period.Load(), ticketPeriodOf(at)
	if known == 0 || known == now {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.turnTickets(now)
}
