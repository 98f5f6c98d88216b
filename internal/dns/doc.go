// Package dns answers questions about the names of a cluster.
//
// In goes a desired.State; Compile makes of it a Table, at the cost of what
// changed since the previous one. In goes a Question; Table.Answer says, from
// the Table alone, what a server must reply: records, a negative answer, or
// that the name is none of the cluster's and has to be forwarded. Explain gives
// the same answer with the steps that led to it.
//
// The names follow the specification "Kubernetes DNS-Based Service Discovery",
// version 1.1.0, and, where that is silent, what CoreDNS answers with its
// kubernetes plugin. It departs from CoreDNS where the DNS standards leave no
// choice:
//
//   - In zones of several clusters (KEP-1645) dns-version is 1.0.0, there are no
//     names of pods, and names of endpoints only for headless ServiceImports, whose
//     clusters are empty non-terminals.
//   - Zonal names of a headless Service without ready endpoints do not exist, as
//     its own name does not (RFC 8020).
//   - Empty non-terminals (_tcp.SERVICE.NAMESPACE.svc, dns.DOMAIN) answer
//     NODATA, not NXDOMAIN, because names exist below them (RFC 8020).
//   - An alias whose target does not exist answers the alias together with
//     the target's response code (RFC 6604).
//   - Type ANY answers a HINFO record instead of claiming that the name holds no
//     data (RFC 8482).
//   - Names below a pod's name do not exist.
//   - An endpoint is not named after a pod whose name has dots: that would be
//     several labels, and no name of an endpoint has more than one.
//   - In zones of external addresses a label in front of a Service is one of its
//     ports or endpoints, not whatever there is; a Service whose load balancer has
//     several names is an alias of the first one (RFC 2181, section 10.1), and
//     where it has addresses too, of none; ports have SRV records and no alias
//     beside them.
//   - An address that a pod had before it came to its end is not the pod's.
//   - Filters by namespace hold for the names of addresses, too.
//   - The name of an address that is known here has no data but PTR records;
//     other types are not forwarded.
//
// Records are values of this package and not those of a DNS library: an address
// is a netip.Addr, so that making an answer copies no addresses, comparing two
// answers needs no reflection, and the sub-folder that serves them can pack them
// ahead of time without unpacking another representation first.
//
// The package opens no socket, reads no clock and keeps no cache: a Table is
// immutable, and what it says is as new as the State it came from.
package dns
