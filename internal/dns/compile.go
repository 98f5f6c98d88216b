package dns

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/pmap"
)

// Compile returns the Table for a State, and a Reason for each Service whose
// names cannot be served as written. prev is the result of an earlier Compile,
// or the zero Table; what did not change since is taken from it, so that the
// cost is that of the change. A Config that is not complete is completed; the
// caller has checked it (Config.Complete), invalid fields act as defaults.
func Compile(s *desired.State, prev Table, config Config) (Table, []desired.Reason) {
	config, selects, err := config.read()
	if err != nil {
		config, selects, _ = Config{Server: config.Server, ServerAddresses: config.ServerAddresses}.read()
	}
	if !prev.config.sameIndex(config) {
		prev = Table{}
	}
	known := prev.state
	if known == nil {
		known = &desired.State{}
	}
	t := prev
	t.config, t.zones = config, config.zones()
	t.Revision, t.Synced, t.state = s.Revision, s.Synced, s
	t.namespaces = exposed(prev.namespaces, known.Namespaces, s.Namespaces, &config, selects.namespaces)
	if config.Pods == PodsVerified {
		t.pods = indexPods(prev.pods, known.Pods, s.Pods)
	}
	e := editor{
		services: prev.services.Edit(), imports: prev.imports.Edit(), reverse: prev.reverse.Edit(), reasons: prev.reasons.Edit(),
		config: &config, zones: t.zones, selects: selects.objects,
	}
	for change := range pmap.Diff(known.Services, s.Services) {
		e.apply(change)
	}
	if len(config.Multicluster) > 0 {
		for change := range pmap.Diff(known.Imports, s.Imports) {
			e.applyImport(change)
		}
	}
	t.imports = e.imports.Map()
	t.services, t.reverse, t.reasons = e.services.Map(), e.reverse.Map(), e.reasons.Map()
	return t, t.allReasons()
}

func (t Table) allReasons() []desired.Reason {
	var reasons []desired.Reason
	for _, reason := range t.reasons.All() {
		reasons = append(reasons, *reason)
	}
	slices.SortFunc(reasons, func(a, b desired.Reason) int {
		return strings.Compare(a.Object.String(), b.Object.String())
	})
	return reasons
}

// editor is a Table being made.
type editor struct {
	services *pmap.Editor[desired.Name, *service]
	reverse  *pmap.Editor[netip.Addr, *owners]
	imports  *pmap.Editor[desired.Name, *service]
	reasons  *pmap.Editor[desired.Ref, *desired.Reason]
	config   *Config
	zones    []zone
	selects  desired.Selector
}

func (e *editor) apply(change pmap.Change[desired.Name, *desired.Service]) {
	before, _ := e.services.Get(change.Key)
	var after *service
	if change.HasNew && e.selected(change.New.Labels) {
		after = e.judged(index(e.visible(change.New), e.config.EndpointPodNames))
	} else {
		e.reasons.Delete(serviceRef(change.Key))
	}
	if after != nil {
		if before != nil {
			after.owner = before.owner
		}
		e.services.Set(change.Key, after)
	} else {
		e.services.Delete(change.Key)
	}
	e.clusterIPs(change.Key, before, after)
	e.endpoints(change.Key, before, after)
}

// applyImport does the same for a ServiceImport, whose addresses have no names.
// It has no labels to be selected by, unlike its EndpointSlices.
func (e *editor) applyImport(change pmap.Change[desired.Name, *desired.Service]) {
	ref := desired.Ref{Kind: "ServiceImport", Namespace: change.Key.Namespace, Name: change.Key.Name}
	e.reasons.Delete(ref)
	e.imports.Delete(change.Key)
	if !change.HasNew {
		return
	}
	s := index(e.visible(change.New), e.config.EndpointPodNames)
	s.imported = true
	if s = e.judged(s); s != nil {
		e.imports.Set(change.Key, s)
	}
}

// judged returns the Service, or nil if its names do not fit in DNS, and keeps
// the reason.
func (e *editor) judged(s *service) *service {
	reason := judge(s, e.zones)
	ref := s.ref()
	if reason == nil {
		e.reasons.Delete(ref)
		return s
	}
	e.reasons.Set(ref, reason)
	return nil
}

func serviceRef(name desired.Name) desired.Ref {
	return desired.Ref{Kind: "Service", Namespace: name.Namespace, Name: name.Name}
}

func (s *service) ref() desired.Ref {
	ref := serviceRef(s.source.Name)
	if s.imported {
		ref.Kind = "ServiceImport"
	}
	return ref
}

// index makes the compact form of a Service.
func index(source *desired.Service, podNames bool) *service {
	s := &service{source: source, podNames: podNames, owner: &owners{endpoint: []desired.Name{source.Name}}}
	if source.Type == desired.ExternalName {
		return s
	}
	for i, slice := range source.Slices {
		for j := range slice.Endpoints {
			if slice.Endpoints[j].Ready {
				s.ready = append(s.ready, ready{int32(i), int32(j)})
			}
		}
	}
	s.ready = slices.Clip(s.ready)
	slices.SortFunc(s.ready, func(a, b ready) int {
		_, x := s.at(a)
		_, y := s.at(b)
		return cmp.Or(strings.Compare(s.named(x), s.named(y)), x.Address.Compare(y.Address))
	})
	seen := make(map[netip.Addr]bool, len(s.ready))
	for _, r := range s.ready {
		_, endpoint := s.at(r)
		s.repeated = s.repeated || seen[endpoint.Address]
		seen[endpoint.Address] = true
	}
	return s
}

// maxName is the longest name that fits in a message, in characters without
// the final dot (RFC 1035, section 2.3.4).
const maxName = 253

// judge returns why the names of a Service do not fit in DNS, or nil.
func judge(s *service, zones []zone) *desired.Reason {
	longest := 0
	for _, r := range s.ready {
		slice, e := s.at(r)
		longest = max(longest, len(s.label(slice, e))+1)
	}
	for _, p := range s.source.Ports {
		longest = max(longest, len("_._sctp.")+len(p.Name))
	}
	last := slices.MaxFunc(zones, func(a, b zone) int { return cmp.Compare(len(a.suffix), len(b.suffix)) })
	longest += len(last.serviceName(s.source.Name)) - 1
	if longest <= maxName {
		return nil
	}
	return &desired.Reason{
		Object:  s.ref(),
		Code:    "NameTooLong",
		Message: fmt.Sprintf("the longest name of this Service in %s would have %d characters where DNS allows %d, so it has no name in DNS; shorten its name, its ports' names or its pods' hostnames", last.domain, longest, maxName),
	}
}
