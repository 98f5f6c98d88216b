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

// decide finds the backend for a connection to an address.
static __always_inline enum verdict decide(const struct endpoint *to, const struct caller *caller,
					   struct endpoint *backend)
{
	struct client client = { .netns = caller->netns, .frontend = *to };

	for (int i = 0; i < ATTEMPTS; i++) {
		struct frontend *found = bpf_map_lookup_elem(&frontends, to);
		struct frontend front;

		if (!found)
			return NO_SERVICE;
		front = *found;
		if (front.count == 0) {
			if (!unchanged(to, &front))
				continue;
			return front.when_empty == DROP_WHEN_EMPTY ? DROPPED : REFUSED;
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
