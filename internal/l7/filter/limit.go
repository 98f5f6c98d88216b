package filter

import (
	"net/netip"
	"time"
)

// Limits bound what one client may do, by its address; at each replica.
type Limits struct {
	// PerSecond and PerMinute are requests, Connections those under way; 0: any number.
	PerSecond, PerMinute, Connections int
	// Burst is how many times PerSecond, or PerMinute, a client may be ahead of its rate.
	Burst int
	// Exempt clients are not limited.
	Exempt []netip.Prefix
	// Status and ConnectionStatus answer what is too much; 0: 503.
	Status, ConnectionStatus int
	// Rate is how many octets a second an answer's body has after the first After ones;
	// 0: any number.
	Rate, After int64
}

// Counts reports whether there is anything to count for each client.
func (l *Limits) Counts() bool { return l.PerSecond > 0 || l.PerMinute > 0 || l.Connections > 0 }

// Exempts reports whether a client is not limited.
func (l *Limits) Exempts(client netip.Addr) bool {
	for _, r := range l.Exempt {
		if r.Contains(client) {
			return true
		}
	}
	return false
}

// Client returns what of an address stands for one client: all of IPv4; of IPv6 the
// first 64 bits, as whoever has one address has all those (RFC 6177).
func Client(a netip.Addr) netip.Addr {
	a = a.Unmap().WithZone("")
	if a.Is6() {
		p, _ := a.Prefix(64)
		return p.Addr()
	}
	return a
}

// Bucket is how far a client is ahead of its rate: a leaky bucket, as nginx's limit_req
// has it. In the zero Bucket it is not.
type Bucket struct {
	// excess is in thousandths of a request, at is when it was that, in nanoseconds; 0:
	// there was no request yet.
	excess, at int64
}

// Take counts a request at a time in nanoseconds, which is more than 0. It returns
// false, and counts nothing, if that would be more than burst ahead of a rate of so
// many thousandths of a request a second.
func (b *Bucket) Take(now, rate int64, burst int) bool {
	if b.at == 0 {
		*b = Bucket{0, now}
		return true
	}
	excess := max(b.excess-leaked(now-b.at, rate)+1000, 0)
	if excess > int64(burst)*1000 {
		return false
	}
	*b = Bucket{excess, max(now, b.at)}
	return true
}

// Empty reports whether the Bucket is as if there had been no request.
func (b *Bucket) Empty(now, rate int64) bool {
	return b.at == 0 || b.excess+1000 <= leaked(now-b.at, rate)
}

// leaked is how much a time takes off an excess.
func leaked(elapsed, rate int64) int64 {
	ms := max(elapsed, 0) / int64(time.Millisecond)
	if ms > 1e9 { // 11 days
		ms = 1e9
	}
	return ms * rate / 1000
}
