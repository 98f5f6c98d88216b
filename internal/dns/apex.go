package dns

import "net/netip"

// What dns-version answers (specification, section 2.2).
const (
	schemaVersion = "1.1.0"
	versionTTL    = 28800
)

// soa returns the SOA record of a zone, with the numbers that CoreDNS uses. Its
// TTL is that of negative answers (RFC 2308, section 5).
func (r *reply) soa(zone string) Record {
	c := &r.table.config
	return Record{
		Name: zone + ".", Type: TypeSOA, TTL: c.TTL, Target: "ns.dns." + c.Domain + ".",
		SOA: &SOA{
			Mailbox: "hostmaster." + c.Domain + ".", Serial: c.Serial + uint32(r.table.Revision),
			Refresh: 7200, Retry: 1800, Expire: 86400, Minimum: c.TTL,
		},
	}
}

// nameServers answers NS for the domain: the Service that leads to this server,
// or ns.dns.DOMAIN while there is none, with its addresses.
func (r *reply) nameServers(owner string) {
	host := "ns.dns." + r.table.config.Domain + "."
	name := r.table.config.Server
	if n := r.table.find(name.Name + "." + name.Namespace + ".svc"); n.kind == whole && len(n.service.source.Addresses) > 0 {
		host = r.table.serviceName(name)
	}
	r.add(Record{Name: owner, Type: TypeNS, TTL: r.table.config.TTL, Target: host})
	for _, address := range r.table.ServerAddresses() {
		r.Additional = append(r.Additional, r.address(host, address))
	}
}

// reverse answers for the name of an address.
func (r *reply) reverse(address netip.Addr, zone string) {
	users, ok := r.table.users(address)
	switch {
	case !ok && !r.table.Synced:
		r.missing()
		return
	case !ok:
		r.say(r.asked.Name, "no Service and no ready endpoint has the address "+address.String()+": forwarded")
		r.Forward = true
		return
	}
	r.Authoritative = true
	owner := absolute(r.asked.Name)
	switch r.asked.Type {
	case TypePTR:
		r.pointers(owner, address, users)
	case TypeANY:
		r.any(owner)
	default:
		r.say(owner, "the address of the cluster has no data of type "+r.asked.Type.String())
		r.negative(NoError, zone)
	}
}

// pointers adds the names of an address: the Service whose own address it is,
// else one name per Service and endpoint that has it.
func (r *reply) pointers(owner string, address netip.Addr, users *owners) {
	if len(users.clusterIP) > 0 {
		name := users.clusterIP[0]
		r.say(owner, "the address of Service "+name.String())
		r.add(Record{Name: owner, Type: TypePTR, TTL: r.table.config.TTL, Target: r.table.serviceName(name)})
		return
	}
	for _, name := range users.endpoint {
		s, ok := r.table.services.Get(name)
		if !ok {
			continue
		}
		last := ""
		for _, at := range s.ready {
			_, endpoint := s.at(at)
			if endpoint.Address != address || s.label(endpoint) == last {
				continue
			}
			last = s.label(endpoint)
			r.say(owner, "a ready endpoint of Service "+name.String())
			r.add(Record{Name: owner, Type: TypePTR, TTL: r.table.config.TTL, Target: last + "." + r.table.serviceName(name)})
		}
	}
}
