package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/vishvananda/netns"
)

// The pods of a socket world, and the port of its server.
const (
	clientIP   = "10.128.0.2"
	serverIP   = "10.129.0.2"
	serverPort = 9000
)

// pods is a node with a client pod and a server pod, each in a namespace.
type pods struct {
	node           netns.NsHandle
	client, server *process
	target         string
	// results has a value per round for each kind of work.
	results map[string]series
}

// newPods makes the namespaces; serve makes a side in the node and returns the
// cgroup that the client belongs to.
func (w *world) newPods(target string, serve func(node netns.NsHandle) (cgroup string, err error)) (*pods, error) {
	p := &pods{target: target, results: map[string]series{}}
	var spaces [3]netns.NsHandle
	for i := range spaces {
		ns, err := w.namespace()
		if err != nil {
			return nil, err
		}
		spaces[i] = ns
	}
	p.node = spaces[0]
	err := errors.Join(
		w.link(end{p.node, "pod1", "10.128.0.1/24"}, end{spaces[1], "eth0", clientIP + "/24"}),
		w.link(end{p.node, "pod2", "10.129.0.1/24"}, end{spaces[2], "eth0", serverIP + "/24"}),
		route(spaces[1], "0.0.0.0/0", "10.128.0.1"), route(spaces[2], "0.0.0.0/0", "10.129.0.1"),
	)
	if err != nil {
		return nil, err
	}
	cgroup, err := serve(p.node)
	if err != nil {
		return nil, err
	}
	// One processor for both ends: what a request costs is then what the clock of
	// that processor says, whoever of the two the kernel counts it for.
	cpu := runtime.NumCPU() - 1
	if p.server, err = w.start(place{ns: spaces[2], cpu: cpu}, "/proc/self/exe", "role", "server"); err != nil {
		return nil, err
	}
	p.client, err = w.start(place{ns: spaces[1], cgroup: cgroup, cpu: cpu}, "/proc/self/exe", "role", "client")
	return p, err
}

// measure lets the client work and notes how much it did in a second of CPU
// time, of client, server and the kernel's softirq threads.
func (p *pods) measure(do string, length time.Duration) error {
	var before, after, a worked
	softirq, err := softirqTime()
	if err != nil {
		return err
	}
	if err := p.server.ask(work{}, &before); err != nil {
		return err
	}
	if err := p.client.ask(work{Do: do, To: p.target, For: length}, &a); err != nil {
		return err
	}
	if err := p.server.ask(work{}, &after); err != nil {
		return err
	}
	later, err := softirqTime()
	if err != nil {
		return err
	}
	if a.Count == 0 {
		return fmt.Errorf("%s to %s: nothing was done", do, p.target)
	}
	if do == "connect" {
		p.results[do] = append(p.results[do], float64(a.Wall.Nanoseconds())/float64(a.Count))
		return nil
	}
	total := a.CPU + after.CPU - before.CPU + later - softirq
	p.results[do] = append(p.results[do], float64(a.Count)/total.Seconds())
	return nil
}

// softirqTime is the CPU time of the ksoftirqd threads.
func softirqTime() (time.Duration, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return 0, err
	}
	var sum time.Duration
	found := 0
	for _, e := range entries {
		if e.Name()[0] < '0' || e.Name()[0] > '9' {
			continue
		}
		name, _ := os.ReadFile("/proc/" + e.Name() + "/comm")
		if !strings.HasPrefix(string(name), "ksoftirqd/") {
			continue
		}
		stat, err := os.ReadFile("/proc/" + e.Name() + "/schedstat")
		if err != nil {
			return 0, err
		}
		nanos, err := strconv.ParseInt(strings.Fields(string(stat))[0], 10, 64)
		if err != nil {
			return 0, err
		}
		sum += time.Duration(nanos)
		found++
	}
	if found == 0 {
		return 0, errors.New("no ksoftirqd thread in /proc: run the bench where all processes of the machine can be seen")
	}
	return sum, nil
}

// sockets measures connections from pod to pod.
func sockets(o options, w *world, r *report) error {
	worlds, err := w.socketWorlds(o)
	if err != nil {
		return err
	}
	names := []string{"bare", "fairlead-direct", "fairlead", "peer-direct", "peer"}
	pause := time.Duration(o.size(400, 50)) * time.Millisecond
	for range o.size(15, 2) {
		for _, do := range []string{"connect", "requests", "connections", "bulk"} {
			for _, name := range names {
				if do == "connect" && strings.HasPrefix(name, "peer") {
					continue // connect() of a UDP socket sends nothing, so nothing of it is kube-proxy's
				}
				if err := worlds[name].measure(do, pause); err != nil {
					return fmt.Errorf("%s: %w", name, err)
				}
			}
		}
	}
	of := func(name, do string) series { return worlds[name].results[do] }
	r.ratio("services-connect", of("bare", "connect"), of("fairlead", "connect"), "ns of connect() on a UDP socket, direct without Fairlead / over a ClusterIP; 1 would be free")
	var added series
	for i, direct := range of("bare", "connect") {
		added = append(added, of("fairlead", "connect")[i]-direct)
	}
	r.figure("services-connect-added", added, "ns", "what a ClusterIP adds to connect()")
	for _, k := range []struct{ do, name, unit string }{
		{"requests", "services-throughput", "requests"}, {"bulk", "services-throughput-bulk", "bytes"},
		{"connections", "services-connections", "connections with a request each"},
	} {
		r.ratio(k.name, of("fairlead", k.do), of("fairlead-direct", k.do), k.unit+" a CPU second over a ClusterIP / direct, both with Fairlead; 1 is free")
		r.ratio(k.name+"-bare", of("fairlead", k.do), of("bare", k.do), k.unit+" a CPU second over a ClusterIP with Fairlead / direct on a node without any rules")
		r.ratio(k.name+"-peer", of("fairlead", k.do), of("peer", k.do), k.unit+" a CPU second over a ClusterIP, Fairlead / kube-proxy")
		r.ratio(k.name+"-peer-direct", of("fairlead-direct", k.do), of("peer-direct", k.do), k.unit+" a CPU second direct, beside Fairlead / beside kube-proxy")
	}
	return nil
}

// socketWorlds are nodes without anything, with Fairlead and with kube-proxy,
// the latter two among 1,000 other Services.
func (w *world) socketWorlds(o options) (map[string]*pods, error) {
	all := cluster(o.size(1000, 20)).and(served(0, serverPort, serverIP))
	direct, over := fmt.Sprint(serverIP, ":", serverPort), fmt.Sprint(servedIP, ":", serverPort)
	bare, err := w.newPods(direct, func(netns.NsHandle) (string, error) { return "", nil })
	if err != nil {
		return nil, err
	}
	ours, err := w.newPods(over, func(node netns.NsHandle) (string, error) {
		s, cgroup, err := w.newFairlead(node)
		if err == nil {
			_, err = s.give(all)
		}
		return cgroup, err
	})
	if err != nil {
		return nil, err
	}
	peer, err := w.newPods(over, func(node netns.NsHandle) (string, error) {
		s, err := w.newPeer(node, o.peer)
		if err == nil {
			_, err = s.give(all)
		}
		return "", err
	})
	if err != nil {
		return nil, err
	}
	with := func(p *pods) *pods {
		return &pods{node: p.node, client: p.client, server: p.server, target: direct, results: map[string]series{}}
	}
	return map[string]*pods{"bare": bare, "fairlead": ours, "fairlead-direct": with(ours), "peer": peer, "peer-direct": with(peer)}, nil
}
