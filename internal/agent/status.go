package agent

import (
	"slices"
	"time"

	"github.com/fairlead-net/fairlead/internal/announce"
	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/ipam"
	"github.com/fairlead-net/fairlead/internal/kube"
	"github.com/fairlead-net/fairlead/internal/l7"
	"github.com/fairlead-net/fairlead/internal/lb"
	"github.com/fairlead-net/fairlead/internal/pmap"
	"github.com/fairlead-net/fairlead/internal/reconcile"
)

// Status is what a process tells about itself at /status.
type Status struct {
	Node     string    `json:"node,omitempty"`
	Version  string    `json:"version"`
	Started  time.Time `json:"started"`
	Revision uint64    `json:"revision"`
	// Synced tells whether everything has been read from the API server once.
	Synced bool `json:"synced"`
	// Problems concern the process as a whole: the API server, the configuration.
	Problems []string `json:"problems,omitempty"`
	// Warnings are what should be known and keeps nothing from working.
	Warnings []string      `json:"warnings,omitempty"`
	Planes   []PlaneStatus `json:"planes"`
	// Announces are the addresses that this node announces by ARP and NDP.
	Announces []Announced `json:"announces,omitempty"`
	// Peers are the sessions of this node with routers.
	Peers []Session `json:"peers,omitempty"`
	// Routes are what they are told.
	Routes []AnnouncedRoute `json:"routes,omitempty"`
}

// PlaneStatus is the part of one plane.
type PlaneStatus struct {
	reconcile.Health
	Healthy bool     `json:"healthy"`
	Notes   []string `json:"notes,omitempty"`
}

// Status returns what the process tells about itself now.
func (a *Agent) Status() Status {
	s := Status{
		Node: a.options.Node, Version: a.options.Version, Started: a.started,
		Revision: a.revision.Load(), Synced: a.synced.Load(),
	}
	if problem := a.objects.Health(); problem != "" {
		s.Problems = append(s.Problems, problem)
	}
	for _, problem := range []*string{a.configProblem.Load(), a.corefileProblem.Load(), a.livenessProblem.Load()} {
		if problem != nil {
			s.Problems = append(s.Problems, *problem)
		}
	}
	if a.announces != nil {
		s.Announces = a.announces()
	}
	if a.peers != nil {
		s.Peers, s.Routes = a.peers()
	}
	for _, port := range a.proxyPorts {
		s.Warnings = append(s.Warnings, port.Describe()...)
	}
	for _, p := range a.pipelines {
		h := p.health()
		s.Planes = append(s.Planes, PlaneStatus{Health: h, Healthy: h.Healthy(), Notes: p.notes()})
	}
	return s
}

// reports are all reasons in the cluster, what the status plane writes.
type reports struct {
	revision uint64
	synced   bool
	statuses pmap.Map[desired.Ref, *desired.Status]
	table    lb.Table
	// balancers are the addresses that Services get.
	balancers ipam.Table
	// announced is what nodes announce.
	announced announce.Table
	// routes are what gateways serve, if there are any.
	routes   l7.Table
	compiled []desired.Reason
}

// newStatus returns the plane that tells users about their objects by Events.
// Of all replicas only the holder of a Lease does so.
func (a *Agent) newStatus(client *kube.Client) pipeline {
	plane := newEventPlane(kube.NewEventWriter(client, a.log))
	compile := func(s *desired.State, last reports) (reports, []desired.Reason) {
		r := reports{revision: s.Revision, synced: s.Synced, statuses: s.Statuses}
		var given []desired.Reason
		r.table, r.compiled = lb.Compile(s, last.table, a.lbOptions())
		r.balancers, given = ipam.Compile(s, last.balancers, IPAMOptions(a.options.Config.LoadBalancer))
		var announced []desired.Reason // the same on every node, so told once, here
		r.announced, announced = announce.Compile(s, last.announced, AnnounceOptions(a.options.Config))
		var routed []desired.Reason
		if a.options.Config.Gateway.Service != "" {
			r.routes, routed = l7.Compile(s, last.routes, rulesLater(L7Config(a.options.Config)))
		}
		r.compiled = slices.Concat(r.compiled, given, announced, routed)
		return r, r.compiled
	}
	p := newPipeline("status", plane, compile, func(r reports) uint64 { return r.revision }, a.log)
	p.ruled = true
	p.health = plane.standby(p.health)
	a.leaderships = append(a.leaderships, plane.leadership)
	return p
}
