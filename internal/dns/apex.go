package dns

import "net/netip"

// What dns-version answers (specification, section 2.2).
const (
	schemaVersion = "1.1.0"
	versionTTL    = 28800
)

func (z *zone) version() string {
	if z.kind == importedZone {
		return importedVersion
	}
	return schemaVersion
}

// soa returns the SOA record of a zone, with the numbers that CoreDNS uses. Its
// TTL is that of negative answers (RFC 2308, section 5).
func (r *reply) soa(zone string) Record {
	return Record{
		Name: zone + ".", Type: TypeSOA, TTL: r.zone.ttl, Target: r.zone.primary,
		SOA: &SOA{
			Mailbox: r.zone.mailbox, Serial: r.table.config.Serial + uint32(r.table.Revision),
			Refresh: 7200, Retry: 1800, Expire: 86400, Minimum: r.zone.ttl,
		},
	}
}

// nameServers answers NS for a zone with its addresses. In the cluster domain that
// is the Service that leads to this server, or ns.dns.DOMAIN while there is none.
func (r *reply) nameServers(owner string) {
	host, addresses := r.zone.primary, r.table.ServerAddresses()
	switch r.zone.kind {
	case externalZone:
		addresses = r.table.externalServer()
	case clusterZone:
		name := r.table.config.Server
		if n := r.table.find(name.Name + "." + name.Namespace + ".svc"); n.kind == whole && len(n.addresses) > 0 {
			host = r.zone.serviceName(name)
		}
	}
	r.add(Record{Name: owner, Type: TypeNS, TTL: r.zone.ttl, Target: host})
	for _, address := range addresses {
		r.Additional = append(r.Additional, r.address(host, address))
	}
}

// reverse answers for the name of an address.
func (r *reply) reverse(address netip.Addr, zone string) {
	users, ok := r.table.users(address)
	switch {
	case !ok && !r.table.Synced:
		r.notSynced()
		return
	case !ok:
		r.say(r.asked.Name, "no Service and no ready endpoint has the address "+address.String()+": forwarded")
		r.Forward = true
		return
	}
	r.Authoritative, r.zone = true, r.table.cluster()
	owner := absolute(r.asked.Name)
	switch r.asked.Type {
	case TypePTR:
		r.pointers(owner, address, users)
	case TypeANY:
		r.say(owner, "an address of the cluster")
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
		r.add(Record{Name: owner, Type: TypePTR, TTL: r.zone.ttl, Target: r.zone.serviceName(name)})
		return
	}
	for _, name := range users.endpoint {
		s, ok := r.table.services.Get(name)
		if !ok {
			continue
		}
		last := ""
		for _, at := range s.ready {
			slice, endpoint := s.at(at)
			if endpoint.Address != address || s.label(slice, endpoint) == last {
				continue
			}
			last = s.label(slice, endpoint)
			r.say(owner, "a ready endpoint of Service "+name.String())
			r.add(Record{Name: owner, Type: TypePTR, TTL: r.zone.ttl, Target: last + "." + r.zone.serviceName(name)})
		}
	}
}
