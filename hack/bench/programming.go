package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/vishvananda/netns"
	discoveryv1 "k8s.io/api/discovery/v1"
)

// side is one of the two in a network namespace of its own.
type side struct {
	*process
	ns    netns.NsHandle
	table string // what nft lists of it
}

// newFairlead starts Fairlead's planes; the cgroup is the one they serve.
func (w *world) newFairlead(ns netns.NsHandle, args ...string) (side, string, error) {
	bpffs, err := w.bpffs()
	if err != nil {
		return side{}, "", err
	}
	cgroup, err := w.cgroup()
	if err != nil {
		return side{}, "", err
	}
	p, err := w.start(place{ns: ns, cpu: -1}, "/proc/self/exe", append([]string{"role", "fairlead", "-bpffs", bpffs, "-cgroup", cgroup}, args...)...)
	return side{p, ns, "inet fairlead"}, cgroup, err
}

func (w *world) newPeer(ns netns.NsHandle, program string, args ...string) (side, error) {
	p, err := w.start(place{ns: ns, cpu: -1}, program, args...)
	return side{p, ns, "ip kube-proxy"}, err
}

func (s side) give(o objects) (taken, error) {
	var t taken
	err := s.ask(o, &t)
	return t, err
}

// holds tells an error unless the kernel's rules name every address.
func (s side) holds(addresses ...string) error {
	return within(s.ns, func() error {
		out, err := exec.CommandContext(context.Background(), "nft", append([]string{"list", "table"}, strings.Fields(s.table)...)...).Output()
		if err != nil {
			return fmt.Errorf("nft list table %s: %w", s.table, err)
		}
		words := map[string]bool{}
		for word := range strings.FieldsFuncSeq(string(out), func(r rune) bool { return !strings.ContainsRune("0123456789.", r) }) {
			words[word] = true
		}
		for _, address := range addresses {
			if !words[address] {
				return fmt.Errorf("the kernel's table %s lacks %s", s.table, address)
			}
		}
		return nil
	})
}

// pair makes both sides, in namespaces of their own.
func (w *world) pair(o options) ([]side, error) {
	var sides []side
	for range 2 {
		ns, err := w.namespace()
		if err != nil {
			return nil, err
		}
		var s side
		if len(sides) == 0 {
			s, _, err = w.newFairlead(ns)
		} else {
			s, err = w.newPeer(ns, o.peer)
		}
		if err != nil {
			return nil, err
		}
		sides = append(sides, s)
	}
	return sides, nil
}

// cold loads everything into a kernel that has nothing, with processes that
// have just started.
func cold(o options, w *world, r *report) error {
	for _, size := range []struct {
		name             string
		services, rounds int
	}{{"1k", o.size(1000, 50), o.size(5, 2)}, {"10k", o.size(10_000, 100), o.size(3, 2)}} {
		all := cluster(size.services)
		var cpu, wall [2]series
		for range size.rounds {
			sides, err := w.pair(o)
			if err != nil {
				return err
			}
			for i, s := range sides {
				t, err := s.give(all)
				if err != nil {
					return err
				}
				cpu[i], wall[i] = append(cpu[i], seconds(t.CPU)), append(wall[i], seconds(t.Wall))
				if err := s.holds(clusterIP(0), clusterIP(size.services-1), endpointIP(2*size.services-1)); err != nil {
					return err
				}
				s.stop()
			}
		}
		if size.name == "10k" {
			r.ratio("services-cold-10k", wall[1], wall[0], "seconds from objects to kernel, kube-proxy / Fairlead")
			r.ratio("services-cold-10k-cpu", cpu[1], cpu[0], "CPU seconds of the same, kube-proxy / Fairlead")
		}
		r.figure("services-cold-"+size.name, wall[0], "s", "objects to kernel")
		r.figure("services-cold-"+size.name+"-peer", wall[1], "s", "the same for kube-proxy")
	}
	return nil
}

// change is the k-th change of a cluster of n Services: one endpoint replaced.
func change(k, n int) (o objects, added string) {
	i, version := k*7919%n, 1+k/n%50
	return objects{Slices: []*discoveryv1.EndpointSlice{numberedSlice(i, version)}}, endpointIP(replaced(i, version))
}

// several gives a side so many changes, and returns what each took on average in
// CPU, and each one's time.
func (s side) several(count, n int, next *int) (cpu float64, walls series, err error) {
	var sum time.Duration
	for range count {
		o, _ := change(*next, n)
		*next++
		t, err := s.give(o)
		if err != nil {
			return 0, nil, err
		}
		sum += t.CPU
		walls = append(walls, millis(t.Wall))
	}
	return millis(sum) / float64(count), walls, nil
}

// changes measures what one change costs on its way into the kernel, in a small
// and in a large cluster.
func changes(o options, w *world, r *report) error {
	return errors.Join(
		changesAmong(o, w, r, "1k", o.size(1000, 50)),
		changesAmong(o, w, r, "10k", o.size(10_000, 100)),
	)
}

// changesAmong gives both sides changes in turn.
func changesAmong(o options, w *world, r *report, name string, services int) error {
	sides, err := w.pair(o)
	if err != nil {
		return err
	}
	defer func() {
		for _, s := range sides {
			s.stop()
		}
	}()
	counts := []int{o.size(200, 20), 10}
	if name == "10k" {
		counts[1] = 3
	}
	var cpu, wall [2]series
	var each series
	var next [2]int
	for i, s := range sides {
		if _, err := s.give(cluster(services)); err != nil {
			return err
		}
		// The first change after a start still pays for the start.
		if _, _, err := s.several(2, services, &next[i]); err != nil {
			return err
		}
	}
	for range o.size(5, 2) {
		for i, s := range sides {
			c, walls, err := s.several(counts[i], services, &next[i])
			if err != nil {
				return err
			}
			cpu[i], wall[i] = append(cpu[i], c), append(wall[i], walls.median())
			if i == 0 {
				each = append(each, walls...)
			}
		}
	}
	for i, s := range sides {
		_, added := change(next[i]-1, services)
		if err := s.holds(added); err != nil {
			return err
		}
	}
	r.ratio("services-change-"+name, cpu[1], cpu[0], "CPU milliseconds a change, kube-proxy / Fairlead")
	r.ratio("services-change-"+name+"-wall", wall[1], wall[0], "milliseconds from the object to the kernel, kube-proxy / Fairlead")
	if name == "10k" {
		r.figure("services-change-10k-p99", series{each.percentile(99)}, "ms", fmt.Sprintf("of %d changes, object to kernel", len(each)))
	}
	return nil
}

// large is what kube-proxy is not asked for: 50,000 Services.
func large(o options, w *world, r *report) error {
	n := o.size(50_000, 200)
	all := cluster(n)
	parts := map[string]series{}
	var wall, cpu, each series
	for round := range o.size(3, 2) {
		ns, err := w.namespace()
		if err != nil {
			return err
		}
		s, _, err := w.newFairlead(ns)
		if err != nil {
			return err
		}
		t, err := s.give(all)
		if err != nil {
			return err
		}
		wall, cpu = append(wall, seconds(t.Wall)), append(cpu, seconds(t.CPU))
		for name, took := range t.Parts {
			parts[name] = append(parts[name], seconds(took))
		}
		next := round * 1000
		_, walls, err := s.several(o.size(400, 20), n, &next)
		if err != nil {
			return err
		}
		each = append(each, walls...)
		s.stop()
	}
	r.figure("services-cold-50k", wall, "s", "objects to kernel; the planes work side by side after build and compile")
	r.figure("services-cold-50k-cpu", cpu, "s", "CPU of the same")
	for _, name := range []string{"parse", "build", "compile", "nftables", "ebpf", "uplink"} {
		r.figure("services-cold-50k-"+name, parts[name], "s", "part of services-cold-50k")
	}
	r.figure("services-change-50k-p99", series{each.percentile(99)}, "ms", fmt.Sprintf("of %d changes, object to kernel", len(each)))
	return nil
}

func seconds(d time.Duration) float64 { return d.Seconds() }
func millis(d time.Duration) float64  { return float64(d) / float64(time.Millisecond) }

// series holds one value per round.
type series []float64

func (s series) percentile(p int) float64 {
	sorted := slices.Sorted(slices.Values(s))
	return sorted[(len(sorted)*p+99)/100-1]
}

func (s series) median() float64 {
	sorted := slices.Sorted(slices.Values(s))
	return (sorted[(len(s)-1)/2] + sorted[len(s)/2]) / 2
}
