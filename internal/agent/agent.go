package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/fairlead-net/fairlead/internal/config"
	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/dns/server"
	"github.com/fairlead-net/fairlead/internal/kube"
	"github.com/fairlead-net/fairlead/internal/l7/waf"
	"github.com/fairlead-net/fairlead/internal/lb"
	"github.com/fairlead-net/fairlead/internal/lb/health"
	"github.com/fairlead-net/fairlead/internal/lb/nft"
	"github.com/fairlead-net/fairlead/internal/lb/uplink"
	"github.com/fairlead-net/fairlead/internal/liveness"
	"github.com/fairlead-net/fairlead/internal/network"
)

// ErrConfigChanged is what Run returns when the configuration file holds a new,
// valid configuration: make a new Agent with it.
var ErrConfigChanged = errors.New("the configuration changed")

// Options are what one process is started with.
type Options struct {
	Config config.Config
	// ConfigFile is watched for changes; empty means none.
	ConfigFile string
	// Dir is a folder of manifests to serve by, instead of a cluster.
	Dir string
	// ACMEDir is a directory for the certificates that a process with Dir orders; empty:
	// it orders none.
	ACMEDir string
	// Planes are the names of the planes to run: lb, announce, dns, gateway, ipam, status.
	Planes []string
	// Node is the name of the Node object of this machine.
	Node string
	// Identity tells this process from its replicas.
	Identity string
	// HTTP is the address of the endpoints for health, metrics and status.
	HTTP string
	// Socket is the node's unix socket: a process with plane lb listens there, one
	// with plane dns tells there that it serves the addresses PodIPs.
	Socket  string
	PodIPs  []netip.Addr
	Version string
	Log     *slog.Logger
	// Kept is from the Agent before in this process; nil if there was none.
	Kept *Kept
}

// reads says which objects the process's planes must know.
func (o Options) reads() kube.Reads {
	reads := kube.Reads{Addressing: o.addressing()}
	if slices.Contains(o.Planes, "dns") {
		reads.Names = dnsNames(o.Config.DNS)
		// Other planes need endpoints.
		reads.Names.NoSlices = reads.Names.NoSlices && len(o.Planes) == 1
	}
	reads.IngressStatus = slices.Contains(o.Planes, "status") && o.Config.Gateway.Service != ""
	reads.Ingresses = reads.IngressStatus || slices.Contains(o.Planes, "gateway")
	if reads.Ingresses {
		reads.ConfigMaps = ConfigMaps(o.Config)
	}
	return reads
}

// addressing says what the process's planes must know of load balancers' addresses.
func (o Options) addressing() kube.Addressing {
	var what kube.Addressing
	for _, name := range o.Planes {
		if name == "status" || name == "ipam" || name == "announce" {
			what.Namespace = o.Config.LoadBalancer.Namespace
		}
		what.Claims = what.Claims || name == "ipam"
		what.Passwords = what.Passwords || name == "announce"
	}
	return what
}

// Agent is one process.
type Agent struct {
	options Options
	// base is the configuration without what the corefile says.
	base     config.Config
	corefile followed
	// Of a process with plane dns: naming is what its server answers by, and renewed
	// tells that it is another; then offerNames gives the server a State anew.
	naming     atomic.Pointer[naming]
	renewed    chan struct{}
	names      *server.Plane
	offerNames func(*desired.State)
	// answers tells whether the DNS server of this process is ready.
	answers func() bool
	log     *slog.Logger
	objects objects
	watcher *kube.Watcher // of a cluster; nil for a folder
	network *network.Watcher
	// Of a process with plane lb, as kube-proxy has them; else nil.
	healthz     *health.Healthz
	programming *programming
	proxyMode   string // what serves sockets: ebpf or nftables
	proxyPorts  []*health.Waiting
	sockets     bool // eBPF serves sockets
	packets     *nft.Plane
	uplink      *uplink.Plane
	table       atomic.Pointer[lb.Table] // the last one that planes were offered
	serves      func() bool              // of a process with plane lb: whether the kernel has had one
	tracing     sync.Mutex
	liveness    *liveness.Server
	// ownMux serves at Options.HTTP, muxes at other addresses.
	ownMux      *http.ServeMux
	muxes       []endpointMux
	pipelines   []pipeline
	services    []func(context.Context) error
	leaderships []*leadership
	announces   func() []Announced                   // of a process with plane announce; else nil
	peers       func() ([]Session, []AnnouncedRoute) // likewise
	// ingressEvents is where a gateway says what is wrong; nil for a folder.
	ingressEvents *kube.IngressEvents
	dnsTop        http.Handler // of a process with plane dns; else nil
	registry      *prometheus.Registry
	started       time.Time

	revision atomic.Uint64
	synced   atomic.Bool
	leaving  atomic.Bool
	configProblem,
	corefileProblem,
	conntrackProblem,
	livenessProblem atomic.Pointer[string]
}

// New wires a process; it starts nothing. The error says which plane cannot run
// here and why.
func New(o Options) (*Agent, error) {
	if o.Kept == nil {
		o.Kept = NewKept()
	}
	base, corefile := o.Config, followed{}
	var unusable error
	if slices.Contains(o.Planes, "dns") {
		corefile, unusable = o.Kept.followKept(o.Config)
		o.Config = corefile.config
	}
	a := &Agent{
		options: o, base: base, corefile: corefile, log: o.Log, registry: prometheus.NewRegistry(), started: time.Now(),
		renewed: make(chan struct{}, 1), network: network.New(o.Config.LB.Uplinks, o.Log),
	}
	client, err := a.newSource()
	if err != nil {
		return nil, err
	}
	a.noteCorefile(unusable)
	if len(o.Planes) == 0 {
		return nil, errors.New("no planes to run: name some with --planes (lb, announce, dns, gateway, ipam, status)")
	}
	for _, name := range o.Planes {
		made, err := a.newPlane(name, client)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("plane %s: %w", name, err), a.close())
		}
		a.pipelines = append(a.pipelines, made...)
	}
	a.connect()
	a.elect(client)
	a.registerMetrics()
	return a, nil
}

// connect makes the end of this node's DNS process known to its lb process.
func (a *Agent) connect() {
	o := a.options
	a.liveness = liveness.NewServer(o.Socket, []uint32{0, unprivileged}, a.log)
	if slices.Contains(o.Planes, "lb") {
		a.services = append(a.services, a.watchLiveness, a.network.Run)
		a.serveAsKubeProxy()
	}
	if slices.Contains(o.Planes, "dns") && len(o.PodIPs) > 0 {
		a.services = append(a.services, func(ctx context.Context) error {
			// The node sends queries here again as soon as it is told that there is a process.
			for !a.answers() {
				if !sleep(ctx, servesPoll) {
					return nil
				}
			}
			return liveness.Hold(ctx, o.Socket, o.PodIPs, a.log)
		})
	}
}

func (a *Agent) newPlane(name string, client *kube.Client) ([]pipeline, error) {
	switch name {
	case "lb":
		return a.newLB()
	case "announce":
		return a.newAnnounce(client)
	case "dns":
		p, err := a.newDNS()
		return []pipeline{p}, err
	case "gateway":
		data, err := a.newData(client)
		if err != nil {
			return nil, err
		}
		if client != nil {
			a.ingressEvents = kube.NewIngressEvents(client)
		}
		p, err := a.newGateway(data)
		return []pipeline{p}, err
	case "status":
		if a.options.Config.Gateway.Service == "" {
			return []pipeline{a.newStatus(client)}, nil
		}
		ordered, line := a.newCertificates(client)
		return []pipeline{a.newStatus(client), a.newIngressStatus(client, ordered.offer), line}, nil
	case "ipam":
		return []pipeline{a.newIPAM(client)}, nil
	}
	return nil, errors.New("there is no plane of this name; known are lb, announce, dns, gateway, ipam and status")
}

// watchLiveness listens for the node's other processes. A node where that fails
// works without: it learns of their end from the API server.
func (a *Agent) watchLiveness(ctx context.Context) error {
	if err := a.liveness.Run(ctx); err != nil {
		problem := "the end of a DNS process on this node is noticed seconds late: " + err.Error()
		a.livenessProblem.Store(&problem)
		a.log.Error("no socket for the node's processes", "error", err)
	}
	return nil
}

// Run works until ctx ends (nil), a part of the process fails for good, or the
// configuration file changes (ErrConfigChanged).
func (a *Agent) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	views := make(chan kube.View)
	group.Go(func() error { return a.objects.Run(ctx, views) })
	group.Go(func() error { return a.build(ctx, views) })
	group.Go(func() error { return a.serveHTTP(ctx) })
	group.Go(func() error { return a.watchConfig(ctx) })
	for _, p := range a.pipelines {
		group.Go(func() error { return p.run(ctx) })
	}
	for _, serve := range a.services {
		group.Go(func() error { return serve(ctx) })
	}
	a.log.Info("running", "version", a.options.Version, "planes", a.options.Planes, "node", a.options.Node)
	return group.Wait()
}

// build turns every View into a State and offers it to all planes.
func (a *Agent) build(ctx context.Context, views <-chan kube.View) error {
	namespace, name, _ := strings.Cut(a.options.Config.DNS.Service, "/")
	dnsService := desired.Name{Namespace: namespace, Name: name}
	var state *desired.State
	var view kube.View
	var objects desired.Objects
	ruled := waf.Shared().Changed()
	for {
		select {
		case <-ctx.Done():
			return nil
		case view = <-views:
			a.network.SetNodeAddresses(view.NodeAddresses)
			a.leaving.Store(view.Leaving)
		case <-a.liveness.Changed():
		case <-a.network.Changed():
		case <-a.renewed:
			a.offerNames(cmp.Or(state, &desired.State{}))
			continue
		case <-ruled:
			ruled = waf.Shared().Changed() // before they are looked at, so that none is missed
			a.offerRuled(state)
			continue
		}
		view.Node.Network = a.network.Current()
		before := objects
		objects = without(view.Objects, dnsService, a.liveness.Dead())
		next, statuses := desired.Build(objects, view.Node, state)
		a.logReasons(statuses)
		changed := state == nil || next.Revision != state.Revision
		state = next
		if !changed {
			continue
		}
		if a.programming != nil {
			a.programming.note(state.Revision, before, objects)
		}
		a.revision.Store(state.Revision)
		a.synced.Store(state.Synced)
		for _, p := range a.pipelines {
			p.offer(state)
		}
	}
}

// offerRuled offers a State once more to those for whom it is another one as more texts of
// rules are compiled.
func (a *Agent) offerRuled(s *desired.State) {
	for _, p := range a.pipelines {
		if p.ruled && s != nil {
			p.offer(s)
		}
	}
}

func (a *Agent) logReasons(statuses []desired.Status) {
	for _, status := range statuses {
		for _, reason := range status.Reasons {
			a.log.Warn("object not used as written", "object", reason.Object.String(), "code", reason.Code, "message", reason.Message)
		}
	}
}

func (a *Agent) close() error {
	// Loops close their planes when they end; these never started.
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	var failed error
	for _, p := range a.pipelines {
		failed = errors.Join(failed, p.run(ctx))
	}
	return failed
}
