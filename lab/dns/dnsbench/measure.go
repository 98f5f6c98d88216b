package main

import (
	"fmt"
	"time"
)

// who serves which mix; Knot knows only its own zone.
func servers(m mix) []string {
	if m.name == "forward" {
		return []string{"fairlead", "coredns", "unbound"}
	}
	return []string{"fairlead", "coredns", "knot", "unbound"}
}

// results are what the rounds gave, by mix and server.
type results struct {
	perCPU, perSecond, p50, p99 map[string]series
}

func newResults() results {
	return results{map[string]series{}, map[string]series{}, map[string]series{}, map[string]series{}}
}

func key(m mix, server string) string { return m.name + "-" + server }

func measure(w *world, r *report) error {
	say("starting servers with %d Services and %d endpoints", w.services, w.services*w.endpoints)
	peers, err := w.peers()
	if err != nil {
		return err
	}
	if w.wire {
		return w.overWire(r, peers["coredns"])
	}
	all := newResults()
	start := time.Now()
	for _, m := range mixes(w.services) {
		path, err := m.write(w.directory)
		if err != nil {
			return err
		}
		for _, server := range servers(m) {
			// What is to be cached is.
			if _, err := w.load(peers[server], path, 0, w.length); err != nil {
				return err
			}
		}
		for round := range w.rounds {
			say("%s, round %d, %s after the start", m.name, round+1, time.Since(start).Round(time.Second))
			for _, server := range servers(m) {
				if err := w.round(&all, m, peers[server], path); err != nil {
					return err
				}
			}
		}
	}
	all.ratios(r)
	if err := w.overWire(r, peers["coredns"]); err != nil {
		return err
	}
	return figures(&all, peers, w, r)
}

// round measures once as much as the server can, and once half of that.
func (w *world) round(all *results, m mix, p *peer, path string) error {
	k := key(m, p.name)
	full, err := w.load(p, path, 0, w.length)
	if err != nil {
		return err
	}
	if err := plausible(m, full); err != nil {
		return fmt.Errorf("%s of %s: %w", m.name, p.name, err)
	}
	rate := float64(full.Answered) / full.Elapsed.Seconds()
	half, err := w.load(p, path, rate/2, w.length)
	if err != nil {
		return err
	}
	say("  %-9s %7.0f a second, %7.0f per CPU-second, at half load p50 %s p99 %s; lost %d and %d", p.name, rate, full.perCPU(), half.P50, half.P99, full.Lost, half.Lost)
	all.perCPU[k] = append(all.perCPU[k], full.perCPU())
	all.perSecond[k] = append(all.perSecond[k], rate)
	all.p50[k] = append(all.p50[k], half.P50.Seconds()*1e3)
	all.p99[k] = append(all.p99[k], half.P99.Seconds()*1e3)
	return nil
}

// plausible reports whether replies are what the queries of a mix must get, so
// that nobody is fast by being wrong.
func plausible(m mix, o outcome) error {
	share := float64(100*o.NXDomain) / float64(max(1, o.Answered))
	switch {
	case o.Answered == 0 || o.CPU == 0:
		return fmt.Errorf("nothing was answered: %+v", o)
	case share < float64(m.missing)-2 || share > float64(m.missing)+2 || o.Other > o.Answered/1000:
		return fmt.Errorf("%.1f %% NXDOMAIN and %d replies without records, want %d %% and none", share, o.Other, m.missing)
	case o.Lost > o.Answered/100:
		return fmt.Errorf("%d of %d queries were lost", o.Lost, o.Lost+o.Answered)
	}
	return nil
}

func (all *results) ratios(r *report) {
	for _, line := range []struct{ name, mine, peer, what string }{
		{"dns-hits-coredns", "hits-fairlead", "hits-coredns", "names of Services, answers per CPU-second"},
		{"dns-hits-knot", "hits-fairlead", "hits-knot", "the same, Knot with the cluster as a zone"},
		{"dns-hits-unbound", "hits-fairlead", "hits-unbound", "the same, unbound with the addresses as local data"},
		{"dns-misses-coredns", "misses-fairlead", "misses-coredns", "60 % names of the search list that do not exist, answers per CPU-second"},
		{"dns-misses-knot", "misses-fairlead", "misses-knot", "the same, Knot"},
		{"dns-misses-unbound", "misses-fairlead", "misses-unbound", "the same, unbound"},
		{"dns-forward-coredns", "forward-fairlead", "forward-coredns", "names elsewhere, from the cache, answers per CPU-second"},
		{"dns-forward-unbound", "forward-fairlead", "forward-unbound", "the same, unbound"},
	} {
		r.ratio(line.name, all.perCPU[line.mine], all.perCPU[line.peer], line.what)
	}
}

func figures(all *results, peers map[string]*peer, w *world, r *report) error {
	for _, m := range mixes(w.services) {
		for _, server := range servers(m) {
			k := key(m, server)
			r.figure("dns-"+k+"-p99", all.p99[k], "ms",
				fmt.Sprintf("at half of what it can, which is %s a second; the median there is %s ms", digits(all.perSecond[k].median()), digits(all.p50[k].median())))
		}
	}
	const mega = 1e6
	r.figure("dns-heap", series{float64(peers["fairlead"].ready.Heap) / mega}, "MB",
		fmt.Sprintf("live objects of Fairlead's process with %d Services and %d endpoints, before the first query", w.services, w.services*w.endpoints))
	r.figure("dns-heap-coredns", series{float64(peers["coredns"].ready.Heap) / mega}, "MB", "the same of CoreDNS, its API client included")
	for _, server := range []string{"fairlead", "coredns", "knot", "unbound"} {
		resident, err := memory(peers[server])
		if err != nil {
			return err
		}
		r.figure("dns-resident-"+server, series{resident / mega}, "MB", "memory of the whole process after all measurements")
	}
	return nil
}
