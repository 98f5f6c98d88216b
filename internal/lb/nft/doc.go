// Package nft serves Services to packets, by one nftables table: those from
// outside the cluster, those of pods with a network stack of their own, and all
// where no eBPF program serves sockets.
//
// In go lb.Tables; out come transactions that the kernel takes whole or not at
// all, each as large as what changed. The number of chains and rules does not
// grow with the number of Services: maps hold what differs between them. The
// package talks netlink itself. It never marks packets or connections, never
// touches a table of others, and forgets connections only of UDP endpoints that
// are gone.
package nft
