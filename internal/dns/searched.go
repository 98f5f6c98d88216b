package dns

import (
	"net/netip"
	"strings"

	"github.com/fairlead-net/fairlead/internal/desired"
)

// Searched reports whether a name that does not exist looks like one that a
// resolver has made of another name with a pod's search path (see PodResolver), and
// returns that other name, and the pod's namespace if the name tells it. In goes a
// name in lower case without final dot. It does not allocate.
//
// What may be a mistyped name of a Service, a port or an endpoint in a namespace that
// exists is not taken for one of these.
func (t *Table) Searched(name string) (looked, namespace string, ok bool) {
	relative, ok := below(name, t.config.Domain)
	if !ok || relative == "" || relative == "svc" || relative == "pod" || strings.HasSuffix(relative, ".pod") {
		return "", "", false
	}
	front, inSvc := strings.CutSuffix(relative, ".svc")
	if !inSvc {
		return relative, "", true // of DOMAIN itself
	}
	front, namespace = cutLast(front)
	if _, exists := t.namespaces.Get(namespace); !exists {
		return strings.TrimSuffix(relative, ".svc"), "", true // of svc.DOMAIN
	}
	_, service := cutLast(front)
	if _, exists := t.services.Get(desired.Name{Namespace: namespace, Name: service}); exists || len(service) == len(front) {
		return "", "", false
	}
	return front, namespace, true
}

// SearchPath reports whether a name is the first one that a pod's resolver makes of
// another one with the pod's search path (see PodResolver), and returns that other name,
// and the further suffixes that the resolver would try, but for those of its node. A
// name is if a pod with the client's address is in the namespace that the name tells; so
// nothing is answered along the search path of another namespace, whoever had the
// address before. Only with pods verified is that known. The name may be of any case,
// and has its final dot or none.
func (t *Table) SearchPath(client netip.Addr, name string) (looked string, rest []string, ok bool) {
	name = strings.TrimSuffix(name, ".")
	domain := t.config.Domain
	relative, ok := below(fold(name), domain)
	if !ok || t.config.Pods != PodsVerified {
		return "", nil, false
	}
	front, inSvc := strings.CutSuffix(relative, ".svc")
	front, namespace := cutLast(front)
	if _, isPod := t.pods.Get(podAddress{namespace, client}); !inSvc || front == "" || !isPod {
		return "", nil, false
	}
	return name[:len(front)], []string{"svc." + domain, domain}, true
}

// cutLast returns the last label of a name, and what is in front of it.
func cutLast(name string) (front, last string) {
	at := strings.LastIndexByte(name, '.')
	return name[:max(at, 0)], name[at+1:]
}
