// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// Where a connection goes. The same code runs in the hooks and in the program
// that tests and explanations ask.

#ifndef FAIRLEAD_DECIDE_H
#define FAIRLEAD_DECIDE_H

#include "maps.h"

enum verdict {
	NO_SERVICE = 0,
	CHOSEN = 1,
	REFUSED = 2,
	DROPPED = 3,
};

#define SECOND 1000000000ULL

// ATTEMPTS bounds how often a decision starts again because its frontend was
// switched to another list meanwhile.
#define ATTEMPTS 4

// caller is what a choice may depend on besides the frontend.
struct caller {
	bool host;             // in the node's own network namespace
	__u64 netns;
	__u64 cookie;          // of the socket
	struct endpoint used;  // by this socket for this frontend before; protocol 0 if none
};

static __always_inline bool same(const struct endpoint *a, const struct endpoint *b)
{
	return a->address[3] == b->address[3] && a->port == b->port && a->protocol == b->protocol &&
	       a->address[2] == b->address[2] && a->address[1] == b->address[1] && a->address[0] == b->address[0];
}

static __always_inline bool is_member(__u64 list, const struct endpoint *backend)
{
	struct member key = { .list = list, .backend = *backend };

	return bpf_map_lookup_elem(&members, &key) != NULL;
}

// mix spreads socket cookies, which are numbered in sequence (the finalizer of
// MurmurHash3).
static __always_inline __u32 mix(__u64 x)
{
	x ^= x >> 33;
	x *= 0xff51afd7ed558ccdULL;
	x ^= x >> 33;
	x *= 0xc4ceb9fe1a85ec53ULL;
	return x ^ (x >> 33);
}

// remembered copies the backend that the client had last, if it may keep it.
static __always_inline bool remembered(const struct client *client, const struct frontend *front,
				       struct endpoint *backend)
{
	struct memory *memory = bpf_map_lookup_elem(&affinity, client);

	if (!memory)
		return false;
	*backend = memory->backend;
	if (bpf_ktime_get_ns() - memory->used >= front->affinity * SECOND)
		return false;
	return is_member(front->list, backend);
}

// choose picks a backend of a list that has some; false if the list is gone.
static __always_inline bool choose(const struct endpoint *to, const struct frontend *front,
				   const struct caller *caller, struct endpoint *backend)
{
	struct slot slot = { .list = front->list };
	struct endpoint *found;

	if (caller->used.protocol && is_member(front->list, &caller->used)) {
		*backend = caller->used;
		return true;
	}
	if (to->protocol == IPPROTO_UDP)
		slot.number = mix(caller->cookie) % front->count;
	else
		slot.number = bpf_get_prandom_u32() % front->count;
	found = bpf_map_lookup_elem(&backends, &slot);
	if (!found)
		return false;
	*backend = *found;
	return true;
}

// unchanged tells that a frontend still names the list that was read. Elements
// of a hash map may be reused while a program reads them, and the old list is
// deleted after the switch: an answer counts only if the switch had not
// happened when all of it had been read.
static __always_inline bool unchanged(const struct endpoint *to, const struct frontend *front)
{
	struct frontend *now = bpf_map_lookup_elem(&frontends, to);

	return now && now->list == front->list && now->count == front->count;
}

static __always_inline void remember(const struct client *client, const struct endpoint *backend)
{
	struct memory memory = { .used = bpf_ktime_get_ns(), .backend = *backend };

	bpf_map_update_elem(&affinity, client, &memory, BPF_ANY);
}

static __always_inline bool is_ipv4(const struct endpoint *e)
{
	return e->address[0] == 0 && e->address[1] == 0 && e->address[2] == bpf_htonl(0xffff);
}

static __always_inline bool is_unspecified(const struct endpoint *e)
{
	return e->address[3] == 0 && e->address[0] == 0 && e->address[1] == 0 &&
	       (e->address[2] == 0 || e->address[2] == bpf_htonl(0xffff));
}

static __always_inline bool is_loopback(const struct endpoint *e)
{
	if (is_ipv4(e))
		return (e->address[3] & bpf_htonl(0xff000000)) == bpf_htonl(0x7f000000);
	return e->address[0] == 0 && e->address[1] == 0 && e->address[2] == 0 && e->address[3] == bpf_htonl(1);
}

static __always_inline bool is_node(const struct endpoint *e)
{
	struct address key = { .address = { e->address[0], e->address[1], e->address[2], e->address[3] } };

	return bpf_map_lookup_elem(&addresses, &key) != NULL;
}

// generalize replaces an address by the unspecified one of its family.
static __always_inline void generalize(struct endpoint *e)
{
	if (!is_ipv4(e))
		e->address[0] = e->address[1] = e->address[2] = 0;
	e->address[3] = 0;
}

// find turns what a client asked for into the key of its frontend: NodePorts
// are kept once for all addresses of the node. Loopback is the node's only for
// programs in its own network namespace.
static __always_inline bool find(struct endpoint *to, bool host)
{
	struct endpoint node = *to;

	if (is_unspecified(to))
		return false;
	if (bpf_map_lookup_elem(&frontends, to))
		return true;
	generalize(&node);
	if (!bpf_map_lookup_elem(&frontends, &node) || !(is_node(to) || (host && is_loopback(to))))
		return false;
	*to = node;
	return true;
}

// decide finds the backend for a connection to an address.
static __always_inline enum verdict decide(const struct endpoint *asked, const struct caller *caller,
					   struct endpoint *backend)
{
	struct endpoint key = *asked;
	const struct endpoint *to = &key;

	struct client client = { .netns = caller->netns };

	if (!find(&key, caller->host))
		return NO_SERVICE;
	client.frontend = key;
	for (int i = 0; i < ATTEMPTS; i++) {
		struct frontend *found = bpf_map_lookup_elem(&frontends, to);
		struct frontend front;

		if (!found)
			return NO_SERVICE;
		front = *found;
		if (front.count == 0) {
			if (!unchanged(to, &front))
				continue;
			switch (front.when_empty) {
			case LEAVE_TO_PACKETS:
				return NO_SERVICE;
			case DROP_WHEN_EMPTY:
				return DROPPED;
			default:
				return REFUSED;
			}
		}
		if (!(front.affinity && remembered(&client, &front, backend)) &&
		    !choose(to, &front, caller, backend))
			continue;
		if (!unchanged(to, &front))
			continue;
		if (front.affinity)
			remember(&client, backend);
		return CHOSEN;
	}
	return REFUSED;
}

#endif
