package kernel

import "fmt"

// Counts are what the program has counted since it was loaded.
type Counts struct {
	// Requests are the queries that it answered, by family (IPv4, IPv6) and type (A,
	// AAAA); Answered and Missing the replies with code NOERROR and NXDOMAIN.
	Requests          [2][2]uint64
	Answered, Missing uint64
	// Received and Sent count the sizes of queries and replies that are at most 0,
	// 100, 200, 300, 400 and 511 bytes, each in the first that fits; then come the
	// sums.
	Received, Sent           [6]uint64
	ReceivedBytes, SentBytes uint64
	// Passed are the queries that were left to user space, by Reasons.
	Passed [4]uint64
}

// Reasons are why queries are left to user space: they are not one plain question
// for addresses; their name is not the cluster's; only user space knows enough of
// the name; or the program is switched off or its maps are being changed.
func Reasons() [4]string { return [4]string{"unusual", "elsewhere", "other", "unready"} }

// Counts reads what the program has counted, on all processors.
func (p *Plane) Counts() (Counts, error) {
	var each []packetsCounters
	var sum Counts
	if err := p.maps[packetsMapCounts].Lookup(uint32(0), &each); err != nil {
		return sum, fmt.Errorf("reading the counters of DNS answers: %w", err)
	}
	for i := range each {
		c := &each[i]
		for f := range c.Requests {
			for t := range c.Requests[f] {
				sum.Requests[f][t] += c.Requests[f][t]
			}
		}
		sum.Answered += c.Answered
		sum.Missing += c.Missing
		for b := range c.Received {
			sum.Received[b] += c.Received[b]
			sum.Sent[b] += c.Sent[b]
		}
		sum.ReceivedBytes += c.ReceivedBytes
		sum.SentBytes += c.SentBytes
		for r := range c.Passed {
			sum.Passed[r] += c.Passed[r]
		}
	}
	return sum, nil
}

// Plus returns the sums of both.
func (c Counts) Plus(other Counts) Counts {
	for f := range c.Requests {
		for t := range c.Requests[f] {
			c.Requests[f][t] += other.Requests[f][t]
		}
	}
	c.Answered += other.Answered
	c.Missing += other.Missing
	for b := range c.Received {
		c.Received[b] += other.Received[b]
		c.Sent[b] += other.Sent[b]
	}
	c.ReceivedBytes += other.ReceivedBytes
	c.SentBytes += other.SentBytes
	for r := range c.Passed {
		c.Passed[r] += other.Passed[r]
	}
	return c
}
