package dns

import (
	"net/netip"
	"strings"
)

// Resolver is what decides which names a client's resolver asks for: the
// options search and ndots of its resolv.conf (resolv.conf(5)).
type Resolver struct {
	Search []string `json:"search,omitempty"`
	// Ndots is how many dots a name needs to be tried as it is before the search
	// path; names with a final dot are never searched for.
	Ndots int `json:"ndots"`
}

// PodResolver is that of a pod with dnsPolicy ClusterFirst, without what its
// node's resolv.conf adds to the search path (kubelet's defaults).
func PodResolver(namespace, domain string) Resolver {
	return Resolver{Search: []string{namespace + ".svc." + domain, "svc." + domain, domain}, Ndots: 5}
}

// Names returns the absolute names that a program's look-up of a name asks for,
// one after the other until one exists, as the GNU C library's resolver does.
// The one of musl differs in that a name with enough dots is not searched for.
func (r Resolver) Names(name string) []string {
	if strings.HasSuffix(name, ".") {
		return []string{name}
	}
	var names []string
	for _, suffix := range r.Search {
		names = append(names, name+"."+strings.TrimSuffix(suffix, ".")+".")
	}
	if strings.Count(name, ".") >= r.Ndots {
		return append([]string{name + "."}, names...)
	}
	return append(names, name+".")
}

// Step is one question of a look-up, its answer, and why it is that.
type Step struct {
	Question
	Result Answer   `json:"result"`
	Why    []string `json:"why"`
}

// Lookup returns the questions that a client asks to look up a name with these
// types. It ends with the first name that has records, is forwarded (what comes
// of that a Table cannot know), or is answered by an error.
func (t Table) Lookup(r Resolver, name string, types ...Type) []Step {
	var steps []Step
	for _, candidate := range r.Names(name) {
		done := false
		for _, qtype := range types {
			step := Step{Question: Question{Name: candidate, Type: qtype, Class: ClassIN}}
			step.Result, step.Why = t.Explain(step.Question)
			steps = append(steps, step)
			negative := !step.Result.Forward && len(step.Result.Answer) == 0 && (step.Result.Rcode == NXDomain || step.Result.Rcode == NoError)
			done = done || !negative
		}
		if done {
			break
		}
	}
	return steps
}

// ReverseAddress returns the address that a name of the reverse zones stands for.
func ReverseAddress(name string) (netip.Addr, bool) {
	address, _, ok := reverseAddress(fold(name))
	return address, ok
}
