// Package network follows what the kernel says of a node's network.
//
// In go netlink's news of links, addresses and routes, the names of uplinks that
// the administrator gave, and the addresses of the Node object; out comes a
// desired.Network, a new pointer whenever its content changed and only then. The
// package reads and never changes anything, and it keeps the last Network it
// has read while the kernel cannot be asked.
package network
