package server

import (
	"slices"
	"sync/atomic"
	"time"
)

// network and family are labels of metrics.
type (
	network uint8
	family  uint8
)

const (
	overUDP network = iota
	overTCP
	networks
)

const (
	ipv4 family = iota
	ipv6
	families
)

const rcodes = 24

// types are those that metrics tell apart, as in CoreDNS; the rest is "other".
var types = [...]string{"other", "A", "AAAA", "CNAME", "HTTPS", "MX", "NS", "PTR", "SOA", "SRV", "SVCB", "TXT", "ANY", "DS", "DNSKEY", "NAPTR", "HINFO"}

func typeIndex(t uint16) int {
	switch t {
	case 1:
		return 1
	case 28:
		return 2
	case 5:
		return 3
	case 65:
		return 4
	case 15:
		return 5
	case 2:
		return 6
	case 12:
		return 7
	case 6:
		return 8
	case 33:
		return 9
	case 64:
		return 10
	case 16:
		return 11
	case 255:
		return 12
	case 43:
		return 13
	case 48:
		return 14
	case 35:
		return 15
	case 13:
		return 16
	}
	return 0
}

// tally counts what goes through one socket. Each has its own, so that sockets
// do not wait for each other's cache lines; they are added up when somebody
// reads the metrics.
type tally struct {
	requests  [networks][families][len(types)]atomic.Uint64
	responses [sources][rcodes]atomic.Uint64
	duration  histogram
	received  [networks]histogram
	sent      [networks]histogram
	panics    atomic.Uint64
	// ignored counts packets that get no reply, shed TCP connections over a limit,
	// refused queries that the server had no time or place for.
	ignored atomic.Uint64
	shed    atomic.Uint64
	refused atomic.Uint64
	// autopath counts queries answered along the client's search path.
	autopath atomic.Uint64
	// statuses counts the replies of DNS over HTTPS.
	statuses [len(statuses)]atomic.Uint64
}

// statuses are those of DNS over HTTPS.
var statuses = [...]int{200, 400, 404, 405, 413, 414, 415, 500, 503}

func (t *tally) https(status int) {
	if i := slices.Index(statuses[:], status); i >= 0 {
		t.statuses[i].Add(1)
	}
}

func (t *tally) request(n network, f family, qtype uint16, size int) {
	t.requests[n][f][typeIndex(qtype)].Add(1)
	t.received[n].observe(sizeBuckets[:], float64(size), 1)
}

func (t *tally) response(n network, rcode int, from source, size int, took time.Duration) {
	t.reply(n, rcode, from, size)
	t.took(1, took)
}

// reply counts a reply without the time that it took, took so many replies that
// took a time.
func (t *tally) reply(n network, rcode int, from source, size int) {
	t.responses[from][min(rcode, rcodes-1)].Add(1)
	t.sent[n].observe(sizeBuckets[:], float64(size), 1)
}

func (t *tally) took(replies uint64, took time.Duration) {
	t.duration.observe(timeBuckets[:], took.Seconds(), replies)
}

const buckets = 16

// timeBuckets are seconds, sizeBuckets bytes; both are those of CoreDNS.
var (
	timeBuckets = [buckets]float64{0.00025, 0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.024, 2.048, 4.096, 8.192}
	sizeBuckets = [buckets]float64{0, 100, 200, 300, 400, 511, 1023, 2047, 4095, 8291, 16000, 32000, 48000, 64000, 65536, 131072}
)

// histogram counts observations by the first bound that they do not exceed.
type histogram struct {
	counts [buckets + 1]atomic.Uint64
	// sum is in millionths: atomics have no floating point addition.
	sum atomic.Uint64
}

// observe counts a value that came up so many times.
func (h *histogram) observe(bounds []float64, value float64, times uint64) {
	i := 0
	for i < len(bounds) && value > bounds[i] {
		i++
	}
	h.counts[i].Add(times)
	h.sum.Add(times * uint64(value*1e6))
}
