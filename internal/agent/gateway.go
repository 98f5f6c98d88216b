package agent

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/kube"
	"github.com/fairlead-net/fairlead/internal/l7"
	"github.com/fairlead-net/fairlead/internal/l7/proxy"
	"github.com/fairlead-net/fairlead/internal/l7/waf"
	"github.com/fairlead-net/fairlead/internal/pmap"
	"github.com/fairlead-net/fairlead/internal/reconcile"
)

// dataSource is where the gateway gets Secrets and ConfigMaps from: those that it
// wants, by name.
type dataSource interface {
	Want(names map[kube.DataName]bool)
	// Get returns those that exist, and whether all have been asked for.
	Get() (dataMap, bool)
	Changed() <-chan struct{}
}

// dataMap is what a dataSource has.
type dataMap = pmap.Map[kube.DataName, *kube.Data]

// firstData is how long the first Table waits for the Secrets and ConfigMaps that it
// names, and for its rules to be compiled; with what is there then the gateway serves.
const firstData = 10 * time.Second

// newGateway wires the proxy that serves Ingresses. The proxy itself outlives this
// Agent: a changed configuration costs no connection.
func (a *Agent) newGateway(data dataSource) (pipeline, error) {
	serves := ProxyConfig(a.options.Config, a.log)
	serves.ReservedPorts = portOf(a.options.HTTP)
	p, later, err := a.options.Kept.gateway(serves, a.options.Config.Gateway.Tracing)
	if err != nil {
		return pipeline{}, err
	}
	plane := &gatewayPlane{
		proxy: p, data: data, credentials: newCredentials(a.log), contents: newContents(a.log), challenges: newChallenges(a.options.Config, a.log), tickets: newTicketing(a.options.Config, a.log),
		stapling: a.options.Kept.staples(a.options.Config.Gateway.OCSPStapling, a.log), later: later,
		said: &said{log: a.log, all: a.options.Dir != ""},
	}
	config := a.options.tables()
	compile := func(s *desired.State, last l7.Table) (l7.Table, []desired.Reason) {
		t, reasons := l7.Compile(s, last, config)
		if t.Synced {
			plane.said.note(reasons)
		}
		return t, reasons
	}
	if made, ok := data.(secretData); ok {
		if err := a.orderInFolder(plane, made); err != nil {
			return pipeline{}, err
		}
	}
	a.warnOfObjects(plane)
	line := newPipeline("gateway", plane, compile, func(t l7.Table) uint64 { return t.Revision }, a.log)
	line.ruled = true
	a.services = append(a.services, plane.followData, plane.stapling.run)
	a.registry.MustRegister(p.Collector(), plane.credentials)
	return line, nil
}

// gatewayPlane makes the proxy serve a Table.
type gatewayPlane struct {
	proxy       *proxy.Proxy
	data        dataSource
	credentials *credentials
	contents    *contents
	challenges  *challenges
	tickets     *ticketing
	stapling    *stapling
	// orders is what orders certificates in this process; nil: nothing does.
	orders *folderOrders
	// later is what of the configuration counts once the process begins anew.
	later []string
	said  *said
	// taking is held while the proxy is given what objects hold.
	taking sync.Mutex

	mu    sync.Mutex
	wants l7.Table // the last Table whose objects are wanted
	began bool
}

// Apply makes want what is served. What a process has not read in full is nothing to
// answer by: a host that is not known yet would get 404.
func (p *gatewayPlane) Apply(ctx context.Context, want l7.Table) error {
	if !want.Synced {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.began || !sameNames(p.wants, want) {
		names := namesIn(want)
		maps.Copy(names, p.challenges.names)
		names[p.tickets.name] = true
		p.data.Want(names)
	}
	p.wants = want
	if !p.began {
		p.firstData(ctx)
		p.began = true
	}
	err := p.proxy.Apply(ctx, want)
	p.orders.offer(&want)
	if ready, _ := p.proxy.Ready(); ready {
		return reconcile.Partial(err) // a port that a ConfigMap lists is not all there is
	}
	return err
}

// firstData waits for what the first Table names: with it a replica that has begun
// answers as the others do.
func (p *gatewayPlane) firstData(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, firstData)
	defer cancel()
	p.complete(ctx)
	p.takeData(p.wants)
}

// complete waits until all that is wanted is there, and all rules are compiled.
func (p *gatewayPlane) complete(ctx context.Context) {
	for {
		_, complete := p.data.Get()
		if complete && waf.Shared().Idle() || !sleep(ctx, 10*time.Millisecond) {
			return
		}
	}
}

// takeData gives the proxy what the objects hold that a Table names, and what it
// answers certificate authorities.
func (p *gatewayPlane) takeData(t l7.Table) {
	p.taking.Lock()
	defer p.taking.Unlock()
	data, _ := p.data.Get()
	p.proxy.SetCertificates(p.stapling.offer(p.credentials.certificates(data)))
	p.proxy.SetContents(p.contents.read(t, data))
	p.proxy.SetAnswers(p.challenges.read(data))
	p.proxy.SetTicketSecret(p.tickets.read(data))
}

// followData takes what objects hold as that changes.
func (p *gatewayPlane) followData(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-p.data.Changed():
		case <-p.stapling.changed:
			p.taking.Lock()
			p.proxy.SetCertificates(p.stapling.certificates())
			p.taking.Unlock()
			continue
		}
		p.mu.Lock()
		wants, began := p.wants, p.began
		p.mu.Unlock()
		if began { // before, nothing is known to be wanted, and what serves must not go
			p.takeData(wants)
		}
	}
}

// Close implements reconcile.Plane. The proxy goes on serving.
func (p *gatewayPlane) Close() error { return nil }

// Describe says where clients connect to, and what cannot be used of what is named.
func (p *gatewayPlane) Describe() []string {
	p.mu.Lock()
	wants, began := p.wants, p.began
	p.mu.Unlock()
	if !began {
		return []string{"has no routes yet"}
	}
	var lines []string
	for _, name := range slices.Sorted(maps.Keys(wants.Listeners)) {
		for _, at := range p.proxy.Addresses(name) {
			lines = append(lines, fmt.Sprintf("listener %s at %s", name, at))
		}
	}
	data, _ := p.data.Get()
	var missing []string
	for name := range namesIn(wants) {
		if _, exists := data.Get(name); !exists {
			missing = append(missing, fmt.Sprintf("%s does not exist, and Ingresses name it; create it, or correct them", name))
		}
	}
	slices.Sort(missing)
	return slices.Concat(p.later, p.said.lines(), rulesNotes(), lines, p.orders.notes(), missing, p.credentials.problems(), p.contents.problems(), p.challenges.problems(), p.tickets.problems())
}

// rulesNotes says that texts of rules are being compiled, if so.
func rulesNotes() []string {
	if waf.Shared().Idle() {
		return nil
	}
	return []string{"rules of ModSecurity are being compiled; until that is done those of before are in force, or their Ingresses get 503"}
}

// namesIn returns the Secrets and ConfigMaps that a Table names.
func namesIn(t l7.Table) map[kube.DataName]bool {
	names := map[kube.DataName]bool{}
	for _, l := range t.Listeners {
		for _, id := range l.Certificates.All() {
			names[kube.DataName{Name: desired.Name(id)}] = true
		}
	}
	for r := range t.References.All() {
		names[dataName(r)] = true
	}
	return names
}

// sameNames tells whether two Tables name the same objects.
func sameNames(a, b l7.Table) bool {
	for range pmap.Diff(a.References, b.References) {
		return false
	}
	if len(a.Listeners) != len(b.Listeners) {
		return false
	}
	for name, l := range a.Listeners {
		other := b.Listeners[name]
		if other == nil {
			return false
		}
		for range pmap.Diff(l.Certificates, other.Certificates) {
			return false
		}
	}
	return true
}
