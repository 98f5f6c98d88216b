// Package l2 tells the machines on the node's networks where the addresses of
// Services are: it answers ARP (RFC 826) and neighbour discovery (RFC 4861) for
// them, and announces those that this node has just become the owner of.
//
// In go an announce.Election, of which the addresses that this node owns matter,
// and a desired.Network, of which the uplinks do. Out come answers with the
// interface's own hardware address, announcements, memberships in the
// solicited-node multicast groups, counters, and Conflicts where another machine
// claims an address. The package elects nobody, gives no interface an address,
// keeps nothing per sender, and says nothing about any other address.
package l2
