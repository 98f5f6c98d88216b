// Package announce decides who tells the network where the addresses of Services
// are: by ARP and NDP on the networks of the nodes, by BGP to routers.
//
// In go a desired.State and, for layer 2, which nodes are alive; out come a Table
// of what there is to announce, and for each address its one owner. Every node
// computes the same from the same, so no node asks another. The package opens no
// socket and reads no clock.
package announce
