package main

import (
	"context"
	"fmt"
	"time"
)

// between is the time between two questions for a name that is not there yet.
const between = time.Millisecond

// appear asks a DNS server for the names that pattern gives for 1 to n, one after the
// other, until each has an address. It returns when each had, in microseconds since 1970.
func appear(ctx context.Context, server, pattern string, n int) (times []int64, err error) {
	for i := range n {
		_, open := udp(server, fmt.Sprintf(pattern, i+1))
		s, err := open()
		if err != nil {
			return times, err
		}
		for s.exchange() != nil {
			if ctx.Err() != nil {
				return times, fmt.Errorf("%d of %d names have appeared in time", i, n)
			}
			time.Sleep(between)
		}
		times = append(times, time.Now().UnixMicro())
		if err := s.Close(); err != nil {
			return times, err
		}
	}
	return times, nil
}
