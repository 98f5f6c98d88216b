// Package bgp tells routers where the addresses of Services are: it holds a BGP
// session (RFC 4271) with each router, announces routes with this node as their next
// hop, and withdraws them again.
//
// In go an announce.Table, of which the peers and the routes matter, and what routers
// send. Out come sessions, their Status, and counters. The package accepts no
// connection, learns no route, changes no routing table, and leaves to GoBGP what
// goes over the wire; package bfd watches whether routers are still there.
//
// # One table for each router
//
// Every router is told something of its own: its routes, their communities, its next
// hops. So each has a table of its own inside GoBGP (what a router calls a VRF), with
// nothing in it but what this router is told, and no policy has to pick from what all
// are told. Names of these tables never leave the process.
//
// # When this process ends
//
// Close ends the sessions so that routers that restart gracefully (RFC 4724) keep the
// routes, and the next process says that it has restarted, and that packets were
// forwarded meanwhile. To have the routes withdrawn, apply a Table without them.
//
// # What a router can do
//
// Nothing that it says reaches any other part. Its routes are refused and, as GoBGP
// notes each one nevertheless, a router that sends more than 50,000 of a family is
// disconnected for five minutes. A router whose session fails again and again is
// connected to less and less often.
package bgp
