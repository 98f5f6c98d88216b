// Package nft serves Services to packets, by one nftables table: those from
// outside the cluster, those of pods with a network stack of their own, and all
// where no eBPF program serves sockets.
//
// In go lb.Tables; out come transactions that the kernel takes whole or not at
// all, each as large as what changed. The number of chains and rules does not
// grow with the number of Services: maps hold what differs between them. The
// package talks netlink itself. It never marks packets or connections, never
// touches a table of others unless Foreign.Remove is told which, and forgets
// connections only to endpoints that are gone: those of UDP, and those of TCP that are
// over or never began.
//
// # Maps
//
// What differs from Service to Service is data in maps, one for IPv4 and one for
// IPv6 of each:
//
//	inside             frontend            -> what to do, how long a client is remembered
//	outside            frontend            -> the same for packets from outside, where it differs
//	actions            what, how long      -> a chain
//	backends           frontend, slot      -> address, port
//	ids                frontend, slot      -> what affinity remembers
//	members            frontend, id        -> address, port
//	affinity           client, frontend    -> id; written by the rules
//	restricted         frontend               that has source ranges
//	allowed            frontend, range        that is let in
//	node, cluster-ips, local, hairpin         addresses
//
// A frontend is address, protocol and port; that of a NodePort has the address
// zero, and rules look there for each address in the set node. The lists for
// packets from outside are in maps of their own (outside-backends and so on).
//
// Only actions leads to chains: whenever such a value is added, the kernel checks
// the table for loops, and whenever a chain is added that uses a map, it checks
// the map. So there is a chain for each number of backends and each timeout in
// use, which stays for a while after its last use, and none for a Service. The
// chain pick4-3 takes one of three slots by chance. Where clients are remembered,
// a backend counts for as long as it is in members, so nothing has to be searched
// for when one leaves.
//
// # Order of writing
//
// Each Apply is one transaction: a packet meets the rules before it or after it.
// Each writes what differs, in as few slots as possible. The first one starts from
// what an earlier process has left: it reads the elements, and replaces the rules
// alone. Only a table of another layout, or one that the kernel would not go on with,
// is made anew, but for the clients that affinity remembers.
// A transaction is bound to the generation of rules that it was made for, so
// nothing is written upon what others flushed meanwhile, and a look every second
// restores what they removed.
//
// # Handover
//
// When an address has moved here from another node, packets of TCP connections that
// conntrack does not know go to that node, which does (Plane.Pass). Only tables of
// the families ip and ip6 can do that, so there are two more, named after the first
// with -handover at the end, for as long as there is something to pass on.
//
// # Limits
//
// NodePorts at loopback addresses are not served: the kernel routes no packet
// from 127.0.0.1 to a pod. Sockets that eBPF programs serve have them.
package nft
