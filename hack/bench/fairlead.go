package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/lb"
	"github.com/fairlead-net/fairlead/internal/lb/ebpf"
	"github.com/fairlead-net/fairlead/internal/lb/nft"
	"github.com/fairlead-net/fairlead/internal/lb/uplink"
)

// taken is what it took a side until the kernel had what it was given.
type taken struct {
	Wall, CPU time.Duration
	// Parts are the times of Fairlead's steps; the planes work side by side.
	Parts map[string]time.Duration
	// Forwarded is how many packets the programs at the uplinks have sent on to
	// other nodes so far.
	Forwarded uint64
}

// fairlead is the way of objects through a node process: parse, Build, Compile,
// planes.
type fairlead struct {
	node    desired.Node
	objects desired.Objects
	state   *desired.State
	table   lb.Table
	planes  map[string]plane
	uplinks *uplink.Plane // nil where packets are nftables' alone
}

type plane interface {
	Apply(context.Context, lb.Table) error
}

// fairleadMain is lab/bench for Fairlead: lines of objects in, times out.
func fairleadMain(args []string) error {
	flags := flag.NewFlagSet("fairlead", flag.ContinueOnError)
	bpffs := flags.String("bpffs", "", "where a BPF file system is mounted")
	cgroup := flags.String("cgroup", "", "the cgroup to serve")
	addresses := flags.String("addresses", "192.0.2.1", "addresses of the node")
	uplinks := flags.String("uplinks", "", "interfaces that lead out")
	packets := flags.String("packets", "ebpf", "what serves packets from outside: ebpf, xdp or nftables")
	if err := flags.Parse(args); err != nil {
		return err
	}
	f := &fairlead{node: desired.Node{Name: "node", Network: &desired.Network{}}, objects: desired.Objects{Synced: true}, planes: map[string]plane{}}
	for text := range strings.SplitSeq(*addresses, ",") {
		f.node.Network.Addresses = append(f.node.Network.Addresses, netip.MustParseAddr(text))
	}
	if *uplinks != "" {
		f.node.Network.Uplinks = strings.Split(*uplinks, ",")
	}
	if err := f.open(*bpffs, *cgroup, *packets); err != nil {
		return err
	}
	return f.serve()
}

// open opens the planes that a node process has where the kernel takes the
// programs, as the agent does.
func (f *fairlead) open(bpffs, cgroup, packets string) error {
	// The API server's default range, as the node process is told it.
	nodePorts := uplink.PortRange{First: 30000, Last: 32767}
	if packets != "nftables" {
		mode := uplink.XDPOff
		if packets == "xdp" {
			mode = uplink.XDPForce
		}
		fast, err := uplink.New(uplink.Config{Directory: filepath.Join(bpffs, "uplink"), NodePorts: nodePorts, XDP: mode})
		if err != nil {
			return err
		}
		f.uplinks, f.planes["uplink"] = fast, fast
	}
	// Both use the node's addresses, so they must not send from the same ports.
	taken, err := uplink.SourcePorts(nodePorts)
	if err != nil {
		return err
	}
	config := nft.Config{MasqueradePorts: [2]uint16{taken.Last + 1, 65535}}
	all, err := nft.New(config)
	if err != nil {
		return err
	}
	sockets, err := ebpf.New(ebpf.Config{
		Cgroup: cgroup, Directory: filepath.Join(bpffs, "fairlead"),
		Sizes: ebpf.Sizes{Frontends: 1 << 17, Backends: 1 << 19},
	})
	f.planes["nftables"], f.planes["ebpf"] = all, sockets
	return err
}

func (f *fairlead) serve() error {
	requests, answers := json.NewDecoder(bufio.NewReaderSize(os.Stdin, 1<<20)), json.NewEncoder(os.Stdout)
	for first := true; ; first = false {
		var o objects
		if err := requests.Decode(&o); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if first {
			runtime.GC() // what reading left behind is not Fairlead's
		}
		t, err := f.apply(o)
		if err != nil {
			return err
		}
		if err := answers.Encode(t); err != nil {
			return err
		}
	}
}

// apply does what a node process does with objects that are new or changed.
func (f *fairlead) apply(o objects) (taken, error) {
	t := taken{Parts: map[string]time.Duration{}}
	start, cpu := time.Now(), cpuTime()
	f.objects = changed(f.objects, o)
	t.Parts["parse"] = time.Since(start)
	build := time.Now()
	f.state, _ = desired.Build(f.objects, f.node, f.state)
	t.Parts["build"] = time.Since(build)
	compile := time.Now()
	f.table, _ = lb.Compile(f.state, f.table, lb.Options{})
	t.Parts["compile"] = time.Since(compile)
	var group errgroup.Group
	times := map[string]*time.Duration{}
	for name, p := range f.planes {
		took := new(time.Duration)
		times[name] = took
		group.Go(func() error {
			begin := time.Now()
			err := p.Apply(context.Background(), f.table)
			*took = time.Since(begin)
			return err
		})
	}
	err := group.Wait()
	t.Wall, t.CPU = time.Since(start), cpuTime()-cpu
	if f.uplinks != nil && err == nil {
		var c uplink.Counters
		c, err = f.uplinks.Counters()
		t.Forwarded = c.Started.Remote + c.Forwarded.Remote
	}
	for name, took := range times {
		t.Parts[name] = *took
	}
	return t, err
}

// changed returns o with the given objects in it.
func changed(o desired.Objects, now objects) desired.Objects {
	services, slices := o.Services.Edit(), o.Slices.Edit()
	for _, s := range now.Services {
		services.Set(desired.Name{Namespace: s.Namespace, Name: s.Name}, desired.ParseService(s))
	}
	for _, s := range now.Slices {
		slices.Set(desired.Name{Namespace: s.Namespace, Name: s.Name}, desired.ParseSlice(s))
	}
	o.Services, o.Slices = services.Map(), slices.Map()
	return o
}

// cpuTime is that of this process so far, in user and system mode.
func cpuTime() time.Duration {
	var usage unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &usage) != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
