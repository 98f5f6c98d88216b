package uplink

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairlead-net/fairlead/internal/desired"
)

// patience is how long a flow in these states of its two directions may be
// silent, pressed if its place is needed; the programs compute the same.
func (t timeouts) patience(protocol uint8, f packetsFlow, other uint8, pressed bool) time.Duration {
	both := packetsFlowState(f.State | other)
	seconds := t.connected
	switch {
	case protocol == uint8(desired.UDP) && both&packetsFlowStateANSWERED != 0:
		seconds = t.datagrams
	case protocol == uint8(desired.UDP):
		seconds = t.datagram
	case both&packetsFlowStateRESET != 0, pressed && packetsFlowState(f.State&other)&packetsFlowStateFINISHED != 0:
		seconds = t.closed
	case packetsFlowState(f.State&other)&packetsFlowStateFINISHED != 0:
		seconds = t.waiting
	case both&packetsFlowStateANSWERED == 0:
		seconds = t.unanswered
	case both&packetsFlowStateFINISHED != 0 && f.Kind == uint8(packetsFlowKindTO_DIRECT):
		seconds = t.leaving
	case both&packetsFlowStateFINISHED != 0:
		seconds = t.finishing
	}
	return time.Duration(seconds) * time.Second
}

// dead tells whether a flow may be forgotten, given its other direction if it
// has one.
func (t timeouts) dead(protocol uint8, f packetsFlow, other *packetsFlow, now uint64, pressed bool) bool {
	used, state := f.Used, uint8(0)
	if other != nil {
		used, state = max(used, other.Used), other.State
	}
	return now > used && now-used > uint64(t.patience(protocol, f, state, pressed))
}

// bpfNow is the programs' clock.
func bpfNow() (uint64, error) {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC_COARSE, &now); err != nil {
		return 0, fmt.Errorf("reading the clock: %w", err)
	}
	return uint64(now.Nano()), nil
}

// sweep forgets flows that have ended, where more than half of the room is taken
// also those whose endpoints may still wait. The programs do so only where they need
// the place.
func (p *Plane) sweep(ctx context.Context) error {
	now, err := bpfNow()
	if err != nil {
		return err
	}
	for _, names := range [][2]string{{packetsMapReplies, packetsMapFlows}, {packetsMapFlows, packetsMapReplies}} {
		var candidates []packetsTuple
		taken := 0
		err := forEach(p.maps[names[0]], func(key packetsTuple, f packetsFlow) {
			taken++
			if p.config.timeouts.dead(key.Protocol, f, nil, now, true) || p.maybeClosed(f, now) {
				candidates = append(candidates, key)
			}
		})
		if err != nil {
			return err
		}
		pressed := taken > int(p.maps[names[0]].MaxEntries())/2
		for _, key := range candidates {
			if ctx.Err() != nil {
				return nil
			}
			if err := p.forgetDead(names[0], names[1], key, now, pressed); err != nil {
				return err
			}
		}
	}
	return nil
}

// maybeClosed tells whether a flow is dead if its other direction is closed too.
func (p *Plane) maybeClosed(f packetsFlow, now uint64) bool {
	return now > f.Used && now-f.Used > uint64(p.config.timeouts.closed)*uint64(time.Second)
}

// forgetDead looks once more at a flow, and forgets it if it is dead.
func (p *Plane) forgetDead(here, there string, key packetsTuple, now uint64, pressed bool) error {
	var f, other packetsFlow
	if p.maps[here].Lookup(key, &f) != nil {
		return nil
	}
	back := f.To.reversed()
	known := &other
	if p.maps[there].Lookup(back, &other) != nil || other.To.reversed() != key {
		known = nil
	}
	if !p.config.timeouts.dead(key.Protocol, f, known, now, pressed) {
		return nil
	}
	err := deleteKey(p.maps[here], key)
	if known != nil {
		err = errors.Join(err, deleteKey(p.maps[there], back))
	}
	return err
}
