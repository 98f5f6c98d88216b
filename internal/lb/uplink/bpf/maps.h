// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// The maps that the node process fills and the programs read, and the tables
// of flows that the programs keep.

#ifndef FAIRLEAD_MAPS_H
#define FAIRLEAD_MAPS_H

#include <stdbool.h>
#include <stddef.h>
#include <linux/bpf.h>
#include <linux/in.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

// Addresses always take 16 bytes, IPv4 as ::ffff:a.b.c.d.
struct address {
	__be32 word[4];
};

// tuple names a packet's flow as the packet has it: both addresses, both ports.
struct tuple {
	struct address source;
	struct address target;
	__be16 source_port;
	__be16 target_port;
	__u8 protocol;
	__u8 pad[3];
};

struct endpoint {
	struct address address;
	__be16 port;
	__u8 protocol;
	__u8 pad;
};

enum frontend_flag {
	DIRECT = 1,  // an endpoint's node answers TCP clients itself
	PASSIVE = 2, // left to nftables here; other nodes may name it in a SYN
};

// frontend says where the slots of an address are. A range of slots is never
// changed while a frontend names it; a new list of backends gets a new number.
struct frontend {
	__u64 list;
	__u32 page;
	__u32 offset;
	__u32 slots;
	__u32 flags;
};

enum backend_flag {
	LOCAL = 1,   // on this node
	ANSWERS = 2, // its node runs Fairlead, and can answer clients itself
};

struct backend {
	struct endpoint at;
	__u32 flags;
};

// member says that a backend is in a list: of UDP, those of the list; with direct
// return, all endpoints on this node, which other nodes may choose.
struct member {
	__u64 list;
	struct endpoint backend;
	__u32 pad;
};

enum node_flag {
	OWN = 1,  // an address of this node at which NodePorts are served
	PEER = 2, // an address of a node that runs Fairlead
};

// uplink holds the addresses by which this node sends to other nodes, and what
// the card is like.
struct uplink {
	struct address v4;
	struct address v6;
	__u8 card[6];   // its own Ethernet address
	__u8 transmits; // takes frames that came by another interface, in XDP
	__u8 pad;
};

enum flow_kind {
	TO_LOCAL = 1,  // the stack delivers to a pod here
	TO_REMOTE = 2, // forwarded in the name of this node
	TO_DIRECT = 3, // forwarded in the name of the client
};

enum flow_state {
	ANSWERED = 1, // more than a first packet was seen
	FINISHED = 2, // FIN was seen in this direction
	RESET = 4,
};

// flow says what becomes of the packets of one direction.
struct flow {
	struct tuple to;
	__u64 list; // that the backend was chosen from
	__u64 used; // bpf_ktime_get_coarse_ns, to the second or so
	__u8 kind;
	__u8 state;
	__u8 pad[6];
};

// passing is the node that knows connections to an address which this one does not.
struct passing {
	struct address to;
	__u64 until; // bpf_ktime_get_coarse_ns
};

// datagram identifies the fragments of one.
struct datagram {
	struct address source;
	struct address target;
	__be32 id;
	__u8 protocol;
	__u8 pad[3];
};

struct ports {
	__be16 source;
	__be16 target;
};

enum counter {
	STARTED_LOCAL,
	STARTED_REMOTE,
	STARTED_DIRECT,
	ACCEPTED_DIRECT,
	FORWARDED_LOCAL,
	FORWARDED_REMOTE,
	FORWARDED_DIRECT,
	FORWARDED_REPLY,
	FORWARDED_ERROR,
	PASSED_NO_PORT,
	PASSED_FULL,
	PASSED_TRACKED,
	PASSED_ROUTE,
	PASSED_ON,
	DROPPED_TOO_BIG,
	DROPPED_ROUTE,
	DROPPED_TTL,
	DROPPED_BROKEN,
	DROPPED_RETURNED,
	COUNTERS,
};

// names makes user space know these types.
struct names {
	enum frontend_flag frontend;
	enum backend_flag backend;
	enum node_flag node;
	enum flow_kind kind;
	enum flow_state state;
	enum counter counter;
};

const volatile struct names names = {};

#define PAGE_SLOTS (1 << 18)
#define PAGES 1024

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1 << 17);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct endpoint);
	__type(value, struct frontend);
} frontends SEC(".maps");

struct page {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, PAGE_SLOTS);
	__type(key, __u32);
	__type(value, __u32);
};

// pages hold, slot by slot, the numbers of backends.
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, PAGES);
	__type(key, __u32);
	__array(values, struct page);
} pages SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1 << 18);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, struct backend);
} backends SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1 << 19);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct member);
	__type(value, __u32);
} members SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1 << 15);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct address);
	__type(value, __u32);
} nodes SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 256);
	__type(key, __u32);
	__type(value, struct uplink);
} uplinks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1 << 14);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct address);
	__type(value, struct passing);
} passings SEC(".maps");

// flows are the packets of clients, replies those of backends. Neither forgets
// a live connection to make room: where they are full, nftables serves.
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1 << 18);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct tuple);
	__type(value, struct flow);
} flows SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1 << 18);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct tuple);
	__type(value, struct flow);
} replies SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1 << 12);
	__type(key, struct datagram);
	__type(value, struct ports);
} fragments SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, COUNTERS);
	__type(key, __u32);
	__type(value, __u64);
} counters SEC(".maps");

static __always_inline void count(__u32 what)
{
	__u64 *counter = bpf_map_lookup_elem(&counters, &what);

	if (counter)
		(*counter)++;
}

static __always_inline bool same(const struct address *a, const struct address *b)
{
	return a->word[3] == b->word[3] && a->word[2] == b->word[2] && a->word[1] == b->word[1] &&
	       a->word[0] == b->word[0];
}

static __always_inline bool is_ipv4(const struct address *a)
{
	return a->word[0] == 0 && a->word[1] == 0 && a->word[2] == bpf_htonl(0xffff);
}

static __always_inline void set_ipv4(struct address *a, __be32 ipv4)
{
	a->word[0] = a->word[1] = 0;
	a->word[2] = bpf_htonl(0xffff);
	a->word[3] = ipv4;
}

// reversed is the tuple of an answer.
static __always_inline struct tuple reversed(const struct tuple *t)
{
	struct tuple r = {
		.source = t->target,
		.target = t->source,
		.source_port = t->target_port,
		.target_port = t->source_port,
		.protocol = t->protocol,
	};

	return r;
}

static __always_inline bool same_tuple(const struct tuple *a, const struct tuple *b)
{
	return a->source_port == b->source_port && a->target_port == b->target_port && a->protocol == b->protocol &&
	       same(&a->source, &b->source) && same(&a->target, &b->target);
}

static __always_inline __u32 node_flags(const struct address *a)
{
	__u32 *flags = bpf_map_lookup_elem(&nodes, a);

	return flags ? *flags : 0;
}

#endif
