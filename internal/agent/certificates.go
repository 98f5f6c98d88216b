package agent

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync/atomic"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/kube"
	"github.com/fairlead-net/fairlead/internal/l7"
	"github.com/fairlead-net/fairlead/internal/l7/acme"
	"github.com/fairlead-net/fairlead/internal/reconcile"
)

// certificates orders the certificates of Ingresses while this process has the Lease,
// and says by Events at Ingresses why there are none.
type certificates struct {
	*eventPlane
	gateway desired.Name
	// manager is nil if the configuration cannot be used; problem says why.
	manager *acme.Manager
	problem string
	orders  *leadership
	events  *reconcile.Loop[reports]

	// revision counts Reports. Only the Manager's Run touches it.
	revision uint64
	last     atomic.Pointer[acme.Report]
	peers    atomic.Pointer[[]acme.Peer]
}

// newCertificates wires what orders certificates. It gets States and Tables by offer.
func (a *Agent) newCertificates(client *kube.Client) (*certificates, pipeline) {
	c := &certificates{
		eventPlane: newEventPlane(kube.NewEventWriter(client, a.log)), gateway: parseName(a.options.Config.Gateway.Service), orders: newLeadership(),
	}
	c.events = reconcile.New("certificates", c, func(r reports) uint64 { return r.revision }, a.log)
	c.report(acme.Report{}) // the plane is healthy as long as nothing is to be said
	config, err := ACMEConfig(a.options.Config)
	if err == nil {
		store := acme.Store(noSecrets{})
		if config.AgreeToTerms {
			store = NewACMEStore(client)
		}
		c.manager, err = acme.New(acme.Options{
			Config: config, Store: store, Peers: func() []acme.Peer { return *c.peers.Load() }, Report: c.report, Log: a.log.With("plane", "certificates"),
		})
	}
	c.peers.Store(new([]acme.Peer))
	if err != nil {
		// The process has other work to do.
		c.problem = "no certificates are ordered: " + err.Error()
		a.log.Error("no certificates are ordered", "error", err)
	} else {
		a.registry.MustRegister(c.manager)
		a.services = append(a.services, c.order)
	}
	a.leaderships = append(a.leaderships, c.leadership, c.orders)
	return c, pipeline{offer: func(*desired.State) {}, run: c.events.Run, health: c.standby(c.events.Health), notes: c.Describe}
}

// offer makes this what certificates are ordered by.
func (c *certificates) offer(s *desired.State, t *l7.Table) {
	var peers []acme.Peer
	if gateway, ok := s.Services.Get(c.gateway); ok {
		peers = peersOf(gateway)
	}
	c.peers.Store(&peers)
	if c.manager != nil {
		c.manager.Offer(t)
	}
}

// order has the Manager run whenever this process has the Lease.
func (c *certificates) order(ctx context.Context) error {
	for {
		leased, done, err := c.orders.Turn(ctx)
		if err != nil {
			return nil
		}
		_ = c.manager.Run(leased) // it ends with the Lease, and for no other reason
		done()
	}
}

// report makes Events of what a Manager has to say.
func (c *certificates) report(r acme.Report) {
	c.revision++
	c.last.Store(&r)
	c.events.Offer(reports{revision: c.revision, synced: true, compiled: r.Reasons})
}

// Describe says how many certificates there are, and what is missing.
func (c *certificates) Describe() []string {
	if c.problem != "" {
		return []string{c.problem}
	}
	lines := []string{c.describe("orders certificates")}
	if !c.orders.leading.Load() {
		return lines
	}
	total, missing := certificateNotes(c.last.Load().Certificates)
	lines[0] += "; " + total
	return append(lines, missing...)
}

// maxNotes is how many lines a plane may say of itself.
const maxNotes = 5

// peersOf returns the replicas of the gateway that are ready, at one address each: of
// the family that the Service has first.
func peersOf(s *desired.Service) []acme.Peer {
	var of [2][]acme.Peer
	for _, slice := range s.Slices {
		http, hasHTTP := behind(s, slice, 80)
		https, hasHTTPS := behind(s, slice, 443)
		if slice.Headless || !hasHTTP || !hasHTTPS {
			continue
		}
		family := 0
		if slice.IPv6 {
			family = 1
		}
		for _, e := range slice.Endpoints {
			if e.Ready {
				of[family] = append(of[family], acme.Peer{HTTP: netip.AddrPortFrom(e.Address, http), HTTPS: netip.AddrPortFrom(e.Address, https)})
			}
		}
	}
	first := 0
	if len(s.Addresses) > 0 && s.Addresses[0].Is6() {
		first = 1
	}
	all := of[first]
	if len(all) == 0 {
		all = of[1-first]
	}
	slices.SortFunc(all, func(a, b acme.Peer) int { return cmp.Or(a.HTTP.Compare(b.HTTP), a.HTTPS.Compare(b.HTTPS)) })
	return slices.Compact(all) // an endpoint can be in two slices for a while
}

// behind returns the port of endpoints behind a port of their Service.
func behind(s *desired.Service, slice *desired.Slice, port uint16) (uint16, bool) {
	for _, p := range s.Ports {
		if p.Port == port && p.Protocol == desired.TCP {
			return slice.Port(p.Name, p.Protocol)
		}
	}
	return 0, false
}

// noSecrets is the Store where nothing is ordered, and so no Secret is read.
type noSecrets struct{}

// Get implements acme.Store.
func (noSecrets) Get(context.Context, desired.Name) (acme.Secret, bool, error) {
	return acme.Secret{}, false, nil
}

// Put implements acme.Store.
func (noSecrets) Put(_ context.Context, name desired.Name, _ acme.Secret) error {
	return fmt.Errorf("Secret %s is not written, as acme.agreeToTerms is not set", name)
}
