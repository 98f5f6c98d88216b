// Package kernel answers queries for addresses of the cluster's names in the
// kernel, where they come in by an interface, before a socket sees them.
//
// In go dns.Tables, one after the other, by Plane.Apply; out come an eBPF program
// at the interfaces of the process's network namespace (tc ingress, by tcx) and
// maps that say what the Table says. The program turns the packet of a query into
// that of its reply and sends it back by the interface that it came by, or lets the
// other end of a veth receive it at once: the bytes are those of the package
// dns/server, but for the order of addresses. Interfaces that do not take the
// program are asked again, with pauses of up to a minute.
//
// # What is answered
//
// UDP over IPv4 without options and IPv6 without extension headers, not
// fragmented, to an address and port of Config.Listen: one question of class IN
// and type A or AAAA with at most an OPT record without options, about
//
//   - a Service with a ClusterIP, or a headless one with up to 16 IPv4 and 8 IPv6
//     addresses: these, or that there are none of this family;
//   - a namespace (NAMESPACE.svc): that it has no data;
//   - names that do not exist because their Service, their namespace or what is in
//     front of the cluster domain does not, once the Table is synced.
//
// Everything else passes unmodified, and user space answers it: other queries,
// names of endpoints, ports and pods, aliases, negative answers to questions that
// write the cluster domain in upper case, names of more than 80 bytes in front of
// the cluster domain, all while the maps are being changed. So the program may
// answer less than it could, and never needs to guess.
//
// # Maps
//
//	names    what decides about a name -> nothing is known but that it exists, or
//	         its addresses
//	lists    several addresses of a Service
//	listens  address and port -> (present)
//	zones    what all answers have in common, and the first few of listens, twice;
//	         one is valid
//	current  which one
//	counts   see Counts
//
// Nothing is pinned: what the kernel holds goes with the process. The package
// opens no socket for queries, and decides nothing about names: that is what
// dns.Table.Entries is for.
package kernel
