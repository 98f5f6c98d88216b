package main

import (
	"context"
	"fmt"
	"time"
)

// between is the time between two questions for a name that is not there yet.
const between = time.Millisecond

// numbered returns how to ask for a name by its number: a DNS server for the address of
// name, which has %d in it, or an HTTP server at address, as to says, whose host has.
func numbered(address string, to target, server, name string) func(n int) (session, error) {
	return func(n int) (session, error) {
		if server != "" {
			_, open := udp(server, fmt.Sprintf(name, n))
			return open()
		}
		numbered := to
		numbered.host = fmt.Sprintf(to.host, n)
		_, dial := tcp(address, numbered)
		return dial()
	}
}

// appear asks for the names 1 to n, one after the other, until each has a good answer. It
// returns when each had, in microseconds since 1970.
func appear(ctx context.Context, n int, open func(n int) (session, error)) (times []int64, err error) {
	for i := range n {
		s, err := open(i + 1)
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
