package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/dns"
	"github.com/fairlead-net/fairlead/internal/dns/server"
	"github.com/fairlead-net/fairlead/internal/dns/server/forward"
	"github.com/fairlead-net/fairlead/lab/dns/coredns"
)

// ready is what a server of this program says on standard output once it serves.
type ready struct {
	// Heap is what live objects take, in bytes, after a garbage collection.
	Heap uint64
}

// place is where a server of this program gets its names from, and serves.
type place struct {
	services, endpoints int
	listen, upstream    netip.AddrPort
	api, zone           string
	// also is another address that CoreDNS listens at.
	also string
	// kernel lets the kernel answer in Fairlead's place.
	kernel bool
}

func (p *place) parse(name string, args []string) error {
	flags := flag.NewFlagSet(name, flag.ContinueOnError)
	flags.IntVar(&p.services, "services", 10, "")
	flags.IntVar(&p.endpoints, "endpoints", 2, "")
	flags.TextVar(&p.listen, "listen", netip.AddrPort{}, "")
	flags.TextVar(&p.upstream, "upstream", netip.AddrPort{}, "")
	flags.StringVar(&p.api, "api", "", "address of the API")
	flags.StringVar(&p.zone, "zone", "", "file that gets the records as a zone")
	flags.StringVar(&p.also, "also", "", "another address to listen at")
	flags.BoolVar(&p.kernel, "kernel", false, "the kernel answers")
	return flags.Parse(args)
}

// serve says that the server is ready and waits until it is to end.
func serve() error {
	runtime.GC()
	runtime.GC() // what finalizers kept
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	if err := json.NewEncoder(os.Stdout).Encode(ready{Heap: memory.HeapAlloc}); err != nil {
		return err
	}
	ended, stop := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM)
	defer stop()
	<-ended.Done()
	return nil
}

// fairleadMain serves the cluster with Fairlead's server, which gets its Table
// as in the agent, and may write the Table's records to a zone file.
func fairleadMain(args []string) error {
	var p place
	if err := p.parse("fairlead", args); err != nil {
		return err
	}
	state := state(cluster(p.services, p.endpoints))
	table, reasons := dns.Compile(state, dns.Table{}, dns.Config{Serial: 1, ServerAddresses: []netip.Addr{p.listen.Addr()}})
	if len(reasons) > 0 {
		return fmt.Errorf("the cluster cannot be served as written: %v", reasons[0])
	}
	if p.zone != "" {
		if err := writeZone(p.zone, table); err != nil {
			return err
		}
	}
	plane, err := server.New(server.Config{Listen: []netip.AddrPort{p.listen}, KernelFastPath: p.kernel, Forward: forward.Config{Upstreams: []netip.AddrPort{p.upstream}}})
	if err != nil {
		return err
	}
	if err := plane.Start(context.Background()); err != nil {
		return err
	}
	if err := plane.Apply(context.Background(), table); err != nil {
		return err
	}
	if said := strings.Join(plane.Describe(), "; "); p.kernel && !strings.Contains(said, "the kernel answers plain queries") {
		return fmt.Errorf("it does not answer in the kernel: %s", said)
	}
	err = serve()
	// The agent keeps the State for its other features: it counts.
	runtime.KeepAlive(state)
	return errors.Join(err, plane.Close())
}

func state(from coredns.Objects) *desired.State {
	o := desired.Objects{Synced: true}
	for _, n := range from.Namespaces {
		o.Namespaces = o.Namespaces.Set(n.Name, &desired.Namespace{})
	}
	for _, s := range from.Services {
		o.Services = o.Services.Set(desired.Name{Namespace: s.Namespace, Name: s.Name}, desired.ParseService(s))
	}
	for _, s := range from.Slices {
		o.Slices = o.Slices.Set(desired.Name{Namespace: s.Namespace, Name: s.Name}, desired.ParseSlice(s))
	}
	state, _ := desired.Build(o, desired.Node{}, nil)
	return state
}

// writeZone writes the records of the cluster's domain.
func writeZone(path string, table dns.Table) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	out := bufio.NewWriter(file)
	for record := range table.Records() {
		if record.Type != dns.TypePTR { // those are of other zones
			fmt.Fprintln(out, record)
		}
	}
	return errors.Join(out.Flush(), file.Close())
}

// coreDNSMain serves the cluster with CoreDNS, which gets it from an API.
func coreDNSMain(args []string) error {
	var p place
	if err := p.parse("coredns", args); err != nil {
		return err
	}
	s, err := coredns.Start(fmt.Sprintf(`.:%d {
		bind %s %s
		errors
		kubernetes cluster.local in-addr.arpa ip6.arpa {
			endpoint %s
			pods insecure
			ttl 30
			startup_timeout 2m
			fallthrough in-addr.arpa ip6.arpa
		}
		forward . %s {
			max_concurrent 1000
		}
		cache 30
		loadbalance
	}`, p.listen.Port(), p.listen.Addr(), p.also, p.api, p.upstream))
	if err != nil {
		return err
	}
	return errors.Join(serve(), s.Stop())
}

// apiMain is what CoreDNS takes for the API server.
func apiMain(args []string) error {
	var p place
	if err := p.parse("api", args); err != nil {
		return err
	}
	handler, err := coredns.API(cluster(p.services, p.endpoints))
	if err != nil {
		return err
	}
	listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", p.listen.String())
	if err != nil {
		return err
	}
	s := &http.Server{Handler: handler, ReadHeaderTimeout: time.Minute}
	go func() { _ = s.Serve(listener) }()
	return errors.Join(serve(), s.Close())
}
