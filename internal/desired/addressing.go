package desired

import "github.com/fairlead-net/fairlead/internal/pmap"

// addressing notes what is to be said against the objects that say which addresses
// there are and how they are announced.
func (b *builder) addressing(old, now Addressing) {
	against(b, "IPAddressPool", old.Pools, now.Pools, func(p *Pool) []Reason { return p.reasons })
	against(b, "L2Advertisement", old.L2Advertisements, now.L2Advertisements, func(a *L2Advertisement) []Reason { return a.reasons })
	against(b, "BGPAdvertisement", old.BGPAdvertisements, now.BGPAdvertisements, func(a *BGPAdvertisement) []Reason { return a.reasons })
	against(b, "Community", old.Communities, now.Communities, func(c *CommunityNames) []Reason { return c.reasons })
	against(b, "BGPPeer", old.Peers, now.Peers, func(p *Peer) []Reason { return p.reasons })
	against(b, "BFDProfile", old.BFDProfiles, now.BFDProfiles, func(p *BFDProfile) []Reason { return p.reasons })
}

func against[V comparable](b *builder, kind string, old, now pmap.Map[Name, V], reasons func(V) []Reason) {
	for c := range pmap.Diff(old, now) {
		var said []Reason
		if c.HasNew {
			said = reasons(c.New)
		}
		b.report(Ref{Kind: kind, Namespace: c.Key.Namespace, Name: c.Key.Name}, said)
	}
}
