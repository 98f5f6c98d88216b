package dns

import (
	"cmp"
	"slices"

	"github.com/fairlead-net/fairlead/internal/desired"
)

// kindOfZone says which names a zone has.
type kindOfZone uint8

const (
	clusterZone  kindOfZone = iota // of Services and pods of the cluster
	externalZone                   // of addresses that lead into the cluster
	importedZone                   // of Services of several clusters
)

// zone is one that a Table is authoritative for.
type zone struct {
	kind kindOfZone
	// domain is its name in lower case without final dot.
	domain string
	// suffix is what follows NAME.NAMESPACE in names of Services.
	suffix string
	// primary and mailbox are those of the SOA record.
	primary, mailbox string
	ttl              uint32 // seconds
	// apex is the only label of the external zone that is no namespace.
	apex string
	// fallsThrough: other servers are asked for names that do not exist; through
	// are the zones below this one where they are if it does not.
	fallsThrough bool
	through      []string
}

// passes reports whether other servers are asked for a name, folded, that does not
// exist in the zone.
func (z *zone) passes(name string) bool {
	return z.fallsThrough || slices.ContainsFunc(z.through, func(zone string) bool {
		_, in := below(name, zone)
		return in
	})
}

// zones returns the zones of a complete Config, the longest names first.
func (c *Config) zones() []zone {
	list := []zone{{
		kind: clusterZone, domain: c.Domain, suffix: ".svc." + c.Domain + ".",
		primary: "ns.dns." + c.Domain + ".", mailbox: "hostmaster." + c.Domain + ".", ttl: c.TTL,
		fallsThrough: slices.Contains(c.Fallthrough, ""), through: c.Fallthrough,
	}}
	e := &c.External
	for _, domain := range e.Zones {
		list = append(list, zone{
			kind: externalZone, domain: domain, suffix: "." + domain + ".",
			primary: "ns1." + e.Apex + "." + domain + ".", mailbox: "hostmaster." + e.Apex + "." + domain + ".", ttl: e.TTL,
			apex: e.Apex, fallsThrough: e.Fallthrough,
		})
	}
	for _, domain := range c.Multicluster {
		list = append(list, zone{
			kind: importedZone, domain: domain, suffix: ".svc." + domain + ".",
			primary: "ns.dns." + domain + ".", mailbox: "hostmaster." + domain + ".", ttl: c.TTL,
			fallsThrough: slices.Contains(c.Fallthrough, ""), through: c.Fallthrough,
		})
	}
	slices.SortStableFunc(list, func(a, b zone) int { return cmp.Compare(len(b.domain), len(a.domain)) })
	return list
}

// authority returns the zone that a folded name is in, and the part of the name
// in front of it; nil if the Table is not authoritative for the name.
func (t *Table) authority(name string) (*zone, string) {
	for i := range t.zones {
		if relative, ok := below(name, t.zones[i].domain); ok {
			return &t.zones[i], relative
		}
	}
	return nil, ""
}

// cluster returns the zone of the cluster domain; nil in the zero Table.
func (t *Table) cluster() *zone {
	for i := range t.zones {
		if t.zones[i].kind == clusterZone {
			return &t.zones[i]
		}
	}
	return nil
}

// serviceName returns the absolute name of a Service.
func (z *zone) serviceName(name desired.Name) string {
	return name.Name + "." + name.Namespace + z.suffix
}

// locate returns the node of a name given relative to a zone, in lower case.
func (t *Table) locate(z *zone, relative string) node {
	switch z.kind {
	case externalZone:
		return t.findExternal(z, relative)
	case importedZone:
		return t.findImported(relative)
	}
	return t.find(relative)
}
