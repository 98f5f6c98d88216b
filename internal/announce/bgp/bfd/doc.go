// Package bfd tells within fractions of a second whether a router still forwards
// packets: Bidirectional Forwarding Detection in asynchronous mode (RFC 5880) over
// one hop (RFC 5881) or several (RFC 5883).
//
// In go Peers, each with the times of its BFDProfile, and control packets. Out come
// control packets, and of each session whether it is up, since when, and why not.
// The package knows nothing of BGP, sends no echo packets, does not authenticate,
// makes no session that it was not asked for, and remembers nothing of a sender that
// is no Peer.
//
// # What an attacker can do
//
// A packet of a session over one hop counts only if its hop limit is 255, so no
// machine can forge one that is not on the same link (RFC 5881, section 5). A packet
// must come from the router's address, and repeat a number that this end has drawn by
// chance, except those of a router that does not know it yet: such a packet may begin a
// session, and over one hop end it (RFC 5880, section 6.8.6), but over several hops
// not end one that is up, as anybody could send it.
package bfd
