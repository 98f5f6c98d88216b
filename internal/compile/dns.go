package compile

import (
	"net/netip"
	"slices"

	miekg "github.com/miekg/dns"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/dns"
)

// records lists the records of every Service: those at its name, those of its
// endpoints, and the pointers back from its addresses.
func records(s *desired.State, zone dns.Table) []string {
	seen := map[string]bool{}
	ask := func(name string, kind dns.Type) dns.Answer {
		a := zone.Answer(dns.Question{Name: name, Type: kind, Class: dns.ClassIN})
		for _, record := range slices.Concat(a.Answer, a.Additional) {
			seen[record.String()] = true
		}
		return a
	}
	reverse := func(address netip.Addr) {
		if name, err := miekg.ReverseAddr(address.String()); err == nil {
			ask(name, dns.TypePTR)
		}
	}
	domain := zone.Config().Domain + "."
	for name, service := range s.Services.All() {
		owner := name.Name + "." + name.Namespace + ".svc." + domain
		for _, kind := range []dns.Type{dns.TypeA, dns.TypeAAAA, dns.TypeCNAME, dns.TypeSRV} {
			ask(owner, kind)
		}
		for _, port := range service.Ports {
			if port.Name != "" {
				ask("_"+port.Name+"._"+lower(port.Protocol)+"."+owner, dns.TypeSRV)
			}
		}
		for _, address := range service.Addresses {
			reverse(address)
		}
		for _, slice := range service.Slices {
			for _, endpoint := range slice.Endpoints {
				if service.Headless || endpoint.Hostname != "" {
					reverse(endpoint.Address)
				}
			}
		}
	}
	all := make([]string, 0, len(seen))
	for record := range seen {
		all = append(all, record)
	}
	slices.Sort(all)
	return all
}

// lower returns the protocol as names in DNS have it.
func lower(p desired.Protocol) string {
	switch p {
	case desired.UDP:
		return "udp"
	case desired.SCTP:
		return "sctp"
	}
	return "tcp"
}
