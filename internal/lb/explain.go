package lb

import "github.com/fairlead-net/fairlead/internal/desired"

// Explanation says how one frontend of a Service is served.
type Explanation struct {
	Frontend string `json:"frontend"`
	Kind     Kind   `json:"kind"`
	Port     string `json:"port"`
	// From is outside where clients outside the cluster are treated differently,
	// and this is about them.
	From    Place   `json:"from,omitempty"`
	Verdict Verdict `json:"verdict"`
	// Holder is the Service that has the frontend where it is not this one.
	Holder   string `json:"holder,omitempty"`
	Affinity string `json:"affinity,omitempty"`
	// Sources are the ranges clients must be in; none means everybody.
	Sources    []string    `json:"sources,omitempty"`
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
	for f, role := range Frontends(s, t.Options) {
		all = append(all, t.explain(s, f, role, Pod))
		if role.local(s, Outside) != role.local(s, Pod) {
			outside := t.explain(s, f, role, Outside)
			outside.From = Outside
			all = append(all, outside)
		}
	}
	return all
}

func (t Table) explain(s *desired.Service, f Frontend, role Role, from Place) Explanation {
	e := Explanation{Frontend: f.String(), Kind: role.Kind, Port: role.Port.String()}
	if entry, ok := t.Entries.Get(f); ok {
		e.Verdict = entry.For(from).Verdict()
		if entry.Service != s.Name {
			e.Holder = entry.Service.String()
		}
		for _, prefix := range entry.Sources {
			e.Sources = append(e.Sources, prefix.String())
		}
	}
	if s.Affinity > 0 {
		e.Affinity = s.Affinity.String()
	}
	e.Candidates = t.explained(s, role, f, from)
	return e
}
