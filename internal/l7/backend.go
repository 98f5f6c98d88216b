package l7

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/pmap"
)

// use notes which Backends an Ingress names now; old and now may be nil.
func (b *builder) use(name desired.Name, old, now *ingress) {
	if old != nil {
		for id := range old.backends {
			if now != nil && now.backends[id] {
				continue
			}
			users, _ := b.users.Get(id)
			if users = users.Delete(name); users.Len() > 0 {
				b.users.Set(id, users)
			} else {
				b.users.Delete(id)
				b.removePort(id)
			}
			b.stale[id] = true
		}
	}
	if now == nil {
		return
	}
	for id := range now.backends {
		if old == nil || !old.backends[id] {
			users, _ := b.users.Get(id)
			b.users.Set(id, users.Set(name, struct{}{}))
			b.addPort(id)
			b.stale[id] = true
		}
	}
}

func (b *builder) addPort(id BackendID) {
	var ids []BackendID
	if list, _ := b.ports.Get(id.Service); list != nil {
		ids = list.ids
	}
	if at, has := slices.BinarySearchFunc(ids, id, BackendID.Compare); !has {
		b.ports.Set(id.Service, &portList{slices.Insert(slices.Clone(ids), at, id)})
	}
}

func (b *builder) removePort(id BackendID) {
	list, _ := b.ports.Get(id.Service)
	if list == nil || id == b.config.DefaultBackend || b.listed.has(id) {
		return
	}
	at, has := slices.BinarySearchFunc(list.ids, id, BackendID.Compare)
	switch {
	case !has:
	case len(list.ids) == 1:
		b.ports.Delete(id.Service)
	default:
		b.ports.Set(id.Service, &portList{slices.Delete(slices.Clone(list.ids), at, at+1)})
	}
}

// backend makes a Backend anew, and tells those who name it what is wrong with it.
func (b *builder) backend(id BackendID) {
	from := origin{fromBackend, id.String()}
	users, used := b.users.Get(id)
	if !used && id != b.config.DefaultBackend && !b.listed.has(id) {
		b.backends.Delete(id)
		b.say(from, nil)
		return
	}
	service, _ := b.state.Services.Get(id.Service)
	now := b.makeBackend(id, service)
	if old, _ := b.backends.Get(id); old == nil || !old.equal(now) {
		b.backends.Set(id, now)
	}
	b.say(from, slices.Concat(problemsOf(now, users), b.listed.problems(now), now.notices))
}

// problemsOf returns a Reason for each Ingress that names a Backend with a problem.
func problemsOf(b *Backend, users pmap.Map[desired.Name, struct{}]) []desired.Reason {
	if b.Problem == "" {
		return nil
	}
	reasons := make([]desired.Reason, 0, users.Len())
	for name := range users.All() {
		reasons = append(reasons, desired.Reason{
			Object: desired.Ref{Kind: "Ingress", Namespace: name.Namespace, Name: name.Name}, Code: b.code, Message: b.Problem,
		})
	}
	return reasons
}

func (b *Backend) equal(other *Backend) bool {
	return b.Host == other.Host && b.HostPort == other.HostPort && b.Problem == other.Problem && b.code == other.code &&
		slices.Equal(b.Endpoints, other.Endpoints) && reflect.DeepEqual(b.Balance, other.Balance)
}

func (b *builder) makeBackend(id BackendID, s *desired.Service) *Backend {
	made := &Backend{ID: id}
	wrong := func(code, format string, args ...any) *Backend {
		made.code, made.Problem = code, fmt.Sprintf(format, args...)
		return made
	}
	if s == nil {
		return wrong("ServiceNotFound", "there is no Service %s, so its requests get 503; create it, or correct the backend", id.Service)
	}
	made.Balance, made.notices = readBalance(s)
	if s.Type == desired.ExternalName {
		number, err := strconv.ParseUint(id.Port, 10, 16)
		switch {
		case b.config.NoExternalNames:
			return wrong("ExternalNameRefused", "Service %s is of type ExternalName, which the configuration does not allow as a backend, so its requests get 503", id.Service)
		case s.ExternalName == "":
			return wrong("ExternalNameInvalid", "Service %s is of type ExternalName without a name that can be used, so its requests get 503", id.Service)
		case err != nil || number == 0:
			return wrong("PortNotFound", "Service %s is of type ExternalName, where a port has no name, so requests to port %q get 503; write its number", id.Service, id.Port)
		}
		made.Host, made.HostPort = s.ExternalName, uint16(number)
		return made
	}
	protocol := desired.TCP
	if id.UDP {
		protocol = desired.UDP
	}
	port, ok := findPort(s, id.Port, protocol)
	if !ok {
		return wrong("PortNotFound", "Service %s has no %s port %q, so its requests get 503; it has %s", id.Service, protocol, id.Port, portsOf(s))
	}
	made.Endpoints = endpointsOf(s, port, nearness{b.state.Node, made.Balance.zones()})
	if id.Virtual && len(s.Addresses) > 0 { // a headless Service has none
		made.Endpoints = []Endpoint{{Address: netip.AddrPortFrom(s.Addresses[0], port.Port)}}
	}
	return made
}

// findPort returns the port that has a name or a number. ingress-nginx finds it also
// by its targetPort, which comes last here.
func findPort(s *desired.Service, want string, protocol desired.Protocol) (desired.Port, bool) {
	if want == "" { // the first one, of a Service that is named without a port
		if i := slices.IndexFunc(s.Ports, func(p desired.Port) bool { return p.Protocol == protocol }); i >= 0 {
			return s.Ports[i], true
		}
	}
	for _, is := range []func(desired.Port) bool{
		func(p desired.Port) bool { return p.Name == want || strconv.Itoa(int(p.Port)) == want },
		func(p desired.Port) bool { return p.Target == want },
	} {
		for _, p := range s.Ports {
			if p.Protocol == protocol && is(p) {
				return p, true
			}
		}
	}
	return desired.Port{}, false
}

func portsOf(s *desired.Service) string {
	var ports []string
	for _, p := range s.Ports {
		ports = append(ports, p.String())
	}
	if len(ports) == 0 {
		return "no ports"
	}
	return strings.Join(ports, ", ")
}
