package lb

import (
	"net/netip"

	"github.com/fairlead-net/fairlead/internal/desired"
)

// Explanation says how one frontend of a Service is served.
type Explanation struct {
	Frontend string  `json:"frontend"`
	Port     string  `json:"port"`
	Verdict  Verdict `json:"verdict"`
	// Holder is the Service that has the frontend where it is not this one.
	Holder     string      `json:"holder,omitempty"`
	Affinity   string      `json:"affinity,omitempty"`
	Candidates []Explained `json:"candidates"`
}

// Explained is one endpoint, whether it serves the frontend, and why.
type Explained struct {
	Backend string `json:"backend"`
	Pod     string `json:"pod,omitempty"`
	Node    string `json:"node,omitempty"`
	Used    bool   `json:"used"`
	Why     string `json:"why"`
	Slice   string `json:"slice"`
}

// Explain says for each frontend of a Service where connections to it go and
// what became of each endpoint.
func (t Table) Explain(s *desired.Service) []Explanation {
	var all []Explanation
	for f, port := range Frontends(s) {
		decision := t.Lookup(f)
		e := Explanation{Frontend: f.String(), Port: port.String(), Verdict: decision.Verdict}
		if decision.Entry != nil && decision.Entry.Service != s.Name {
			e.Holder = decision.Entry.Service.String()
		}
		if s.Affinity > 0 {
			e.Affinity = s.Affinity.String()
		}
		for _, c := range Candidates(s, port, f.Address.Is6(), t.state.Node) {
			e.Candidates = append(e.Candidates, Explained{
				Backend: netip.AddrPortFrom(c.Endpoint.Address, c.Port).String(), Pod: c.Endpoint.Pod, Node: c.Endpoint.Node,
				Used: c.Used, Why: c.Why, Slice: c.Slice.Name.Name,
			})
		}
		all = append(all, e)
	}
	return all
}
