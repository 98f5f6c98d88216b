// Package uplink forwards packets that arrive by a node's uplinks for Services,
// with eBPF programs at the uplinks themselves.
//
// In goes an lb.Table through Plane.Apply; out come programs on each uplink and
// maps that say what the Table says. The package never decides which backends a
// Service has, never answers in an endpoint's place, and never handles what it
// cannot handle whole: that passes unmodified, and nftables (lb/nft) serves it.
//
// # What is handled
//
// TCP and UDP to NodePorts, addresses of load balancers and external IPs,
// without session affinity and without source ranges, if there is an endpoint,
// and if every endpoint on another node is reached by an uplink whose packets
// need not be smaller than those of the others. Left to nftables are, besides
// other frontends:
//
//   - clients that are nodes themselves, whose connections need masquerading;
//   - packets with IP options or extension headers, and with a TTL of 1, of
//     which the kernel has to tell the sender;
//   - connections that conntrack knows: they began there;
//   - what finds no source port, no room for its flow, or no way by an uplink;
//   - later fragments whose first one was not seen.
//
// A packet of a flow that was handled never goes to nftables, which would send
// it elsewhere: what cannot be forwarded then is dropped and counted. That a
// packet is too big is noticed by the sender's kernel or by nftables, as ways
// with a smaller MTU than an uplink's are not handled; a route that learned a
// smaller one later is the exception, and counted as Dropped.TooBig.
//
// # How
//
//	local   endpoint on this node: the destination is rewritten, and the stack
//	        routes the packet, so that NetworkPolicy sees the true client. On its
//	        way out by an uplink the answer gets the frontend as its source.
//	remote  endpoint on another node: the source becomes this node's address and
//	        a port of a range that neither the kernel nor NodePorts use; the
//	        packet leaves by an uplink at once, and so does the answer.
//
//	direct  endpoint on another node, TCP, with lb.Options.DirectReturn: as remote,
//	        but the source stays the client's. The SYN tells the frontend in a TCP
//	        option (kind 253); the endpoint's node notes it, if it knows that
//	        frontend with that endpoint, and gives the answers the frontend's
//	        address, which go to the client without a detour. The remote way go
//	        SYNs without room for the option, clients behind another node,
//	        endpoints on nodes that do not run Fairlead, and NodePorts at an
//	        address that is not among the Table's Peers.
//
// Where the driver has XDP, packets of known flows that leave the node again may
// be changed and sent there already (Config.XDP). That program changes nothing
// but such packets, and makes of them what the one behind it would. Frames of
// VLANs whose tag the card takes off look like the card's own there; they would
// have to be of a known flow to be taken for one.
//
// ICMP errors about flows are given the addresses of the other side, in their
// quote too, and go the way of the flow's packets.
//
// A packet of a connection that this node knows nothing of, and conntrack
// neither, is forwarded to the chosen backend if the way is local or direct:
// then another node, which the client's packets went by before, has chosen the
// same. The remote way needs the port that the other node used.
//
// The backend of a new flow is the one in the slot that a hash of the flow names
// (Slot) in a table that depends on the backends alone (lb.Maglev), so every
// node chooses the same.
//
// # Maps
//
//	frontends  address, port, protocol -> list, range of slots, flags
//	pages      arrays of slots: numbers of backends
//	backends   number -> address, port, on this node?
//	members    list, backend -> (present): of UDP the backends; with direct return all
//	           endpoints here, as another node may choose one that this one does not
//	nodes      address -> of this node? of another?
//	uplinks    interface -> addresses that this node sends from
//	flows      a client's packet  -> what it becomes, and its life
//	replies    a backend's packet -> what it becomes, and its life
//	fragments  a datagram -> the ports that its first fragment had
//	counters   see Counters
//
// flows and replies do not forget the least recently used when they are full,
// but refuse new flows, which nftables serves then: a flood must not end
// connections, nor give the port of one to another. Flows that have ended are
// swept away by this process, and by the programs where a new flow wants the
// port of one (timeouts).
//
// # Order of writing
//
// First what a list needs: backends, members and slots; then the frontend that
// names it, in one atomic replacement; then what the old list had is free. The
// programs check at the end of a choice that the frontend still names the list
// they read, and start again otherwise. Whatever moment a process dies at, each
// frontend names a whole list. Only frontends that differ are written. One that
// cannot be written is removed, so that nftables serves it: no list with
// endpoints that may be gone stays.
//
// A frontend that is left to nftables is not in the maps, with two exceptions,
// which have the flag PASSIVE: one at an address of this node, which a NodePort of
// the same number would be taken for, and one that other nodes may name in a SYN.
//
// # Restart
//
//	links/INTERFACE-HOOK       what is attached; before Linux 6.6, filters for all but XDP
//	maps-vLAYOUT-FINGERPRINT/  the maps, and the pages; the fingerprint covers types and sizes
//
// A new process adopts maps of its own layout and writes only what differs. If
// the layout or a size changed, it fills new maps from a Synced Table, then
// replaces the program in each link atomically; flows stay in the maps they are
// in.
package uplink
