package desired

import (
	"slices"

	"github.com/fairlead-net/fairlead/api/metallb"
)

// Advertised says which addresses an advertisement is about, and which nodes
// make it. Nothing in a field restricts nothing.
type Advertised struct {
	Name Name `json:"name"`
	// Pools and PoolSelectors say, together, from which pools.
	Pools            []string  `json:"pools,omitempty"`
	PoolSelectors    Selectors `json:"poolSelectors,omitempty"`
	NodeSelectors    Selectors `json:"nodeSelectors,omitempty"`
	ServiceSelectors Selectors `json:"serviceSelectors,omitempty"`
}

// Covers tells whether addresses that a Service with these labels has from a pool
// are advertised.
func (a *Advertised) Covers(p *Pool, serviceLabels map[string]string) bool {
	open := len(a.Pools) == 0 && len(a.PoolSelectors) == 0
	named := slices.Contains(a.Pools, p.Name.Name) || len(a.PoolSelectors) > 0 && a.PoolSelectors.Match(p.Labels)
	return (open || named) && a.ServiceSelectors.Match(serviceLabels)
}

// L2Advertisement announces addresses by ARP and NDP.
type L2Advertisement struct {
	Advertised
	// Interfaces of the nodes; none means all uplinks.
	Interfaces []string `json:"interfaces,omitempty"`

	reasons []Reason // against the object
}

// BGPAdvertisement announces addresses to BGP peers.
type BGPAdvertisement struct {
	Advertised
	// Bits4 and Bits6 are the lengths of the prefixes that are announced.
	Bits4 int `json:"bits4"`
	Bits6 int `json:"bits6"`
	// LocalPref is for peers of the same AS; 0 means 100 (RFC 4271, section 5.1.5).
	LocalPref   uint32      `json:"localPref,omitempty"`
	Communities []Community `json:"communities,omitempty"`
	// Aliases are names of communities, which a Community object explains.
	Aliases []string `json:"aliases,omitempty"`
	// Peers are names of BGPPeers; none means all.
	Peers []string `json:"peers,omitempty"`

	reasons []Reason // against the object
}

// ParseL2Advertisement turns the object into an L2Advertisement, which knows what
// of the object cannot be used.
func ParseL2Advertisement(o *metallb.L2Advertisement) *L2Advertisement {
	var r reasons
	a := &L2Advertisement{
		Advertised: parseAdvertised(Name{o.Namespace, o.Name}, &o.Spec.Advertised, &r),
		Interfaces: o.Spec.Interfaces,
	}
	if len(o.Spec.PreferredNodeSelectors) > 0 {
		r.add("PreferenceIgnored", "spec.preferredNodeSelectors is not used: addresses are spread evenly over the nodes that spec.nodeSelectors admit; restrict those if only some nodes are to announce")
	}
	a.reasons = r.of(Ref{Kind: "L2Advertisement", Namespace: o.Namespace, Name: o.Name})
	return a
}

// ParseBGPAdvertisement turns the object into a BGPAdvertisement, which knows what
// of the object cannot be used.
func ParseBGPAdvertisement(o *metallb.BGPAdvertisement) *BGPAdvertisement {
	var r reasons
	a := &BGPAdvertisement{
		Advertised: parseAdvertised(Name{o.Namespace, o.Name}, &o.Spec.Advertised, &r),
		LocalPref:  o.Spec.LocalPref, Peers: o.Spec.Peers,
		Bits4: parseAggregation(o.Spec.AggregationLength, 32, "spec.aggregationLength", &r),
		Bits6: parseAggregation(o.Spec.AggregationLengthV6, 128, "spec.aggregationLengthV6", &r),
	}
	for _, text := range o.Spec.Communities {
		if c, ok := ParseCommunity(text); ok {
			a.Communities = append(a.Communities, c)
		} else {
			a.Aliases = append(a.Aliases, text)
		}
	}
	a.reasons = r.of(Ref{Kind: "BGPAdvertisement", Namespace: o.Namespace, Name: o.Name})
	return a
}

func parseAdvertised(name Name, o *metallb.Advertised, r *reasons) Advertised {
	return Advertised{
		Name: name, Pools: o.IPAddressPools,
		PoolSelectors:    parseSelectors(o.IPAddressPoolSelectors, "spec.ipAddressPoolSelectors", r),
		NodeSelectors:    parseSelectors(o.NodeSelectors, "spec.nodeSelectors", r),
		ServiceSelectors: parseSelectors(o.ServiceSelectors, "spec.serviceSelectors", r),
	}
}

func parseAggregation(bits *int32, all int, field string, r *reasons) int {
	if bits == nil {
		return all
	}
	if *bits < 1 || int(*bits) > all {
		r.add("AggregationInvalid", "%s is %d, allowed are 1 to %d; each address is announced by itself", field, *bits, all)
		return all
	}
	return int(*bits)
}
