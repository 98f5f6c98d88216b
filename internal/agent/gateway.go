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
	"github.com/fairlead-net/fairlead/internal/pmap"
)

// secretSource is where the gateway gets Secrets from: those that it wants, by name.
type secretSource interface {
	Want(names map[desired.Name]bool)
	// Get returns those that exist, and whether all have been asked for.
	Get() (pmap.Map[desired.Name, *kube.Secret], bool)
	Changed() <-chan struct{}
}

// firstSecrets is how long the first Table waits for the Secrets that it names; with
// what is there then the gateway serves.
const firstSecrets = 10 * time.Second

// newGateway wires the proxy that serves Ingresses. The proxy itself outlives this
// Agent: a changed configuration costs no connection.
func (a *Agent) newGateway(secrets secretSource) (pipeline, error) {
	p, err := a.options.Kept.gateway(ProxyConfig(a.options.Config, a.log))
	if err != nil {
		return pipeline{}, err
	}
	plane := &gatewayPlane{proxy: p, secrets: secrets, credentials: newCredentials(a.log)}
	config := L7Config(a.options.Config)
	compile := func(s *desired.State, last l7.Table) (l7.Table, []desired.Reason) {
		return l7.Compile(s, last, config)
	}
	line := newPipeline("gateway", plane, compile, func(t l7.Table) uint64 { return t.Revision }, a.log)
	a.services = append(a.services, plane.followSecrets)
	a.registry.MustRegister(p.Collector(), plane.credentials)
	return line, nil
}

// gatewayPlane makes the proxy serve a Table.
type gatewayPlane struct {
	proxy       *proxy.Proxy
	secrets     secretSource
	credentials *credentials

	mu    sync.Mutex
	wants l7.Table // the last Table whose Secrets are wanted
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
	if !p.began || !sameSecrets(p.wants, want) {
		p.secrets.Want(secretsOf(want))
	}
	p.wants = want
	if !p.began {
		p.firstSecrets(ctx)
		p.began = true
	}
	return p.proxy.Apply(ctx, want)
}

// firstSecrets waits for the Secrets of the first Table: with them a replica that has
// begun answers every handshake as the others do.
func (p *gatewayPlane) firstSecrets(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, firstSecrets)
	defer cancel()
	for {
		_, complete := p.secrets.Get()
		if complete || !sleep(ctx, 10*time.Millisecond) {
			break
		}
	}
	p.takeSecrets()
}

func (p *gatewayPlane) takeSecrets() {
	secrets, _ := p.secrets.Get()
	p.proxy.SetCertificates(p.credentials.certificates(secrets))
}

// followSecrets gives the proxy certificates as they change.
func (p *gatewayPlane) followSecrets(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-p.secrets.Changed():
			p.takeSecrets()
		}
	}
}

// Close implements reconcile.Plane. The proxy goes on serving.
func (p *gatewayPlane) Close() error { return nil }

// Describe says where clients connect to, and which certificates cannot be used.
func (p *gatewayPlane) Describe() []string {
	var lines []string
	p.mu.Lock()
	wants, began := p.wants, p.began
	p.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(wants.Listeners)) {
		for _, at := range p.proxy.Addresses(name) {
			lines = append(lines, fmt.Sprintf("listener %s at %s", name, at))
		}
	}
	if !began {
		return []string{"has no routes yet"}
	}
	secrets, _ := p.secrets.Get()
	for name := range secretsOf(wants) {
		if _, exists := secrets.Get(name); !exists {
			lines = append(lines, fmt.Sprintf("Secret %s does not exist: its hosts get the default certificate; create it, of type kubernetes.io/tls", name))
		}
	}
	lines = append(lines, p.credentials.problems()...)
	slices.Sort(lines)
	return lines
}

// secretsOf returns the Secrets that a Table names.
func secretsOf(t l7.Table) map[desired.Name]bool {
	names := map[desired.Name]bool{}
	for _, l := range t.Listeners {
		for _, id := range l.Certificates.All() {
			names[desired.Name(id)] = true
		}
	}
	return names
}

// sameSecrets tells whether two Tables name the same certificates.
func sameSecrets(a, b l7.Table) bool {
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

// gateway returns the proxy of this process, which Agents hand on to each other.
func (k *Kept) gateway(c proxy.Config) (*proxy.Proxy, error) {
	if k.proxy != nil {
		return k.proxy, nil
	}
	p, err := proxy.New(c)
	if err != nil {
		return nil, err
	}
	if err := p.Start(context.Background()); err != nil {
		return nil, err
	}
	k.proxy = p
	return p, nil
}

// Close ends what outlives Agents. A proxy that serves is drained first.
func (k *Kept) Close() error {
	if k.proxy == nil {
		return nil
	}
	return k.proxy.Close()
}
