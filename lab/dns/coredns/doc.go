// Package coredns runs CoreDNS with its own kubernetes plugin in this process,
// against an API server that only pretends to be one.
//
// In goes a set of objects, which API serves over HTTP with lists and watches,
// and a Corefile; out comes a server that answers on a socket as CoreDNS does in
// a cluster, informers included. The benchmark of DNS uses it as a peer. The
// tests of this package ask it and Fairlead the same questions about the same
// clusters, made at random, and accept no difference that is not listed with its
// reason. More of them are asked by
//
//	go test ./coredns -clusters 1000 -seed 2
package coredns
