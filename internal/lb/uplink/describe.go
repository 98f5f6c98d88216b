package uplink

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/fairlead-net/fairlead/internal/lb"
)

// Describe says in human lines what is attached, what is left to nftables, and
// why.
func (p *Plane) Describe() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var lines []string
	switch {
	case len(p.attached) > 0:
		names := strings.Join(slices.Sorted(maps.Keys(p.attached)), ", ")
		served := 0
		for _, k := range p.known {
			if len(k.backends) > 0 {
				served++
			}
		}
		lines = append(lines, fmt.Sprintf("packets that come by %s are forwarded by eBPF, %d frontends", names, served))
	case p.foreign:
		lines = append(lines, "programs of another layout serve until everything has been read from the API server")
	default:
		lines = append(lines, "no uplink has the programs")
	}
	for _, name := range p.applied.Uplinks {
		if b, ok := p.barred[name]; ok {
			line := "uplink " + name + " is left to nftables: " + b.why
			if p.applied.Options.DirectReturn {
				line += "; connections that another node sends by it for lb.directReturn are not answered"
			}
			lines = append(lines, line)
		} else if _, ok := p.attached[name]; !ok {
			lines = append(lines, "uplink "+name+" is left to nftables: it is not there, or is no Ethernet")
		}
	}
	lines = append(lines, p.describeXDP()...)
	if p.noPorts != nil {
		lines = append(lines, "endpoints on other nodes are left to nftables: "+p.noPorts.Error())
	} else {
		lines = append(lines, fmt.Sprintf("packets to endpoints on other nodes leave from ports %d-%d", p.ports.First, p.ports.Last))
	}
	if p.otherSize != 0 {
		lines = append(lines, fmt.Sprintf("up to %d flows are kept instead of %d, until the node starts again: open connections keep the table they are in", p.otherSize, p.config.FlowsSize))
	}
	lines = append(lines, p.describeLeft()...)
	if len(p.pending) > 0 {
		lines = append(lines, fmt.Sprintf("%d frontends wait to be written or removed", len(p.pending)))
	}
	return lines
}

// describeXDP says which uplinks have the short cut.
func (p *Plane) describeXDP() []string {
	var lines []string
	if p.noXDP != "" {
		lines = append(lines, p.noXDP)
	}
	for _, u := range p.uplinks {
		switch why := cmp.Or(p.refused[u.name], u.why); {
		case why != "":
			lines = append(lines, "XDP is not used on "+u.name+": "+why)
		case p.short[u.name] == u.index:
			lines = append(lines, "packets of known flows are forwarded by XDP on "+u.name)
		}
	}
	return lines
}

// describeLeft groups what is left to nftables by reason.
func (p *Plane) describeLeft() []string {
	by := map[string][]lb.Frontend{}
	for f, why := range p.left {
		by[why] = append(by[why], f)
	}
	var lines []string
	for why, fs := range by {
		example := slices.MinFunc(fs, lb.Frontend.Compare)
		lines = append(lines, fmt.Sprintf("%d frontends are left to nftables, such as %s: %s", len(fs), example, why))
	}
	slices.SortFunc(lines, cmp.Compare[string])
	const most = 10
	if len(lines) > most {
		lines = append(lines[:most], fmt.Sprintf("and %d more reasons", len(lines)-most))
	}
	return lines
}

// Counters are packets since the maps were made.
type Counters struct {
	// Started counts new flows, Forwarded packets of known ones, by kind: to an
	// endpoint on this node, on another, and on another that answers itself.
	Started, Forwarded struct{ Local, Remote, Direct uint64 }
	// Accepted counts flows that another node sent here to be answered directly.
	Accepted uint64
	// Replies are answers of endpoints, Errors ICMP errors about flows.
	Replies, Errors uint64
	// Passed counts what was left to nftables: for want of a port, for want of
	// room for flows, because conntrack knew it, and because its way led
	// elsewhere.
	Passed struct{ NoPort, Full, Tracked, Route uint64 }
	// PassedOn counts packets of connections that a former owner of the address knows,
	// and so got.
	PassedOn uint64
	// Dropped counts packets that did not fit, had no way, lived too long, could not
	// be changed, or came back from the node that they were passed on to.
	Dropped struct{ TooBig, Route, TTL, Broken, Returned uint64 }
}

// Counters reads the programs' counters.
func (p *Plane) Counters() (Counters, error) {
	var c Counters
	for which, to := range map[packetsCounter]*uint64{
		packetsCounterSTARTED_LOCAL: &c.Started.Local, packetsCounterSTARTED_REMOTE: &c.Started.Remote,
		packetsCounterSTARTED_DIRECT: &c.Started.Direct, packetsCounterACCEPTED_DIRECT: &c.Accepted, packetsCounterFORWARDED_LOCAL: &c.Forwarded.Local,
		packetsCounterFORWARDED_REMOTE: &c.Forwarded.Remote, packetsCounterFORWARDED_DIRECT: &c.Forwarded.Direct,
		packetsCounterFORWARDED_REPLY: &c.Replies, packetsCounterFORWARDED_ERROR: &c.Errors,
		packetsCounterPASSED_NO_PORT: &c.Passed.NoPort, packetsCounterPASSED_FULL: &c.Passed.Full,
		packetsCounterPASSED_TRACKED: &c.Passed.Tracked, packetsCounterPASSED_ROUTE: &c.Passed.Route,
		packetsCounterDROPPED_TOO_BIG: &c.Dropped.TooBig, packetsCounterDROPPED_ROUTE: &c.Dropped.Route,
		packetsCounterDROPPED_TTL: &c.Dropped.TTL, packetsCounterDROPPED_BROKEN: &c.Dropped.Broken,
		packetsCounterDROPPED_RETURNED: &c.Dropped.Returned, packetsCounterPASSED_ON: &c.PassedOn,
	} {
		var each []uint64
		if err := p.maps[packetsMapCounters].Lookup(uint32(which), &each); err != nil {
			return Counters{}, fmt.Errorf("reading the programs' counters: %w", err)
		}
		for _, n := range each {
			*to += n
		}
	}
	return c, nil
}
