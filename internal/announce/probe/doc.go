// Package probe finds out which of the nodes that announce addresses are alive:
// their processes send each other small UDP packets, so a node that dies, or is
// cut off, is known to be gone long before the API server says so.
//
// In go an announce.Table, of which the nodes and this node's offers matter, and
// packets from the other nodes. Out come packets to them, and an announce.Live. The
// package elects nobody, announces nothing, and believes no packet that is not
// signed with the key that the nodes share.
//
// # How fast
//
// A node sends to each other node every Interval, and counts it as dead when
// Misses intervals have passed without an answer. With the usual 100 ms and 5 that
// is 500 ms. It sends 2,000 packets a second at most, so from 200 nodes on the
// interval grows with their number: a dead node is known after 1.25 s among 500
// nodes, and after 2.5 s among 1,000. Each packet says what interval its sender
// keeps, and the longer of the two counts.
//
// # Alive
//
// A node is alive only as long as it answers, that is, its packets repeat the
// numbers of packets that it has just been sent. So where packets get through in
// one direction alone both ends count the other as dead (RFC 5880, section 6.8.1:
// a session is up only if each end says that it hears the other). The end that
// still hears the other knows that the fault is its own, and if nobody else
// answers it either it counts itself as not alive.
//
// A node counts itself as alive, and tells the others what it offers, only when all
// others have answered, or three times the time of detection has passed: one that
// starts, or that has stood still so long that the others must have taken over,
// claims nothing of theirs.
//
// # What an attacker can do
//
// Packets are signed for one receiver with HMAC-SHA256. A recorded packet is of no
// use: the numbers of a process rise, and a new process is believed in only once it
// repeats a number that it has just been sent. Whoever can keep packets from
// arriving can make nodes look dead, as he could anyway.
package probe
