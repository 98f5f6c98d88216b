// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// Which backend a new flow gets: the same on every node that is asked.

#ifndef FAIRLEAD_SELECT_H
#define FAIRLEAD_SELECT_H

#include "packet.h"

// SEED and the mixing below must never change: nodes of different versions have
// to agree.
#define SEED 0x9e3779b9

// ATTEMPTS bounds how often a choice starts again because its frontend was
// switched to other slots meanwhile.
#define ATTEMPTS 3

static __always_inline __u32 mix(__u32 hash, __u32 word)
{
	word *= 0xcc9e2d51;
	word = word << 15 | word >> 17;
	word *= 0x1b873593;
	hash ^= word;
	hash = hash << 13 | hash >> 19;
	return hash * 5 + 0xe6546b64;
}

// hash_of is MurmurHash3 (32 bits) over the words of a tuple, read as big endian.
static __always_inline __u32 hash_of(const struct tuple *t)
{
	__u32 hash = SEED;

#pragma unroll
	for (int i = 0; i < 4; i++)
		hash = mix(hash, bpf_ntohl(t->source.word[i]));
#pragma unroll
	for (int i = 0; i < 4; i++)
		hash = mix(hash, bpf_ntohl(t->target.word[i]));
	hash = mix(hash, (__u32)bpf_ntohs(t->source_port) << 16 | bpf_ntohs(t->target_port));
	hash = mix(hash, t->protocol);
	hash ^= 40;
	hash ^= hash >> 16;
	hash *= 0x85ebca6b;
	hash ^= hash >> 13;
	hash *= 0xc2b2ae35;
	return hash ^ hash >> 16;
}

static __always_inline bool is_member(__u64 list, const struct endpoint *backend)
{
	struct member key = { .list = list, .backend = *backend };

	return bpf_map_lookup_elem(&members, &key) != NULL;
}

static __always_inline bool copy_frontend(const struct endpoint *key, struct frontend *front)
{
	struct frontend *found = bpf_map_lookup_elem(&frontends, key);

	if (!found)
		return false;
	*front = *found;
	return true;
}

// find_frontend finds what serves an address, a port and a protocol. NodePorts
// are kept once, with the unspecified address of their family; an address
// counts for them if it has one of these flags.
static __noinline bool find_frontend(struct endpoint *key, struct frontend *front, __u32 flags)
{
	if (!key || !front)
		return false;
	if (copy_frontend(key, front))
		return true;
	if (!(node_flags(&key->address) & flags))
		return false;
	if (!is_ipv4(&key->address))
		key->address.word[0] = key->address.word[1] = key->address.word[2] = 0;
	key->address.word[3] = 0;
	return copy_frontend(key, front);
}

static __always_inline struct endpoint target_of(const struct tuple *t)
{
	struct endpoint e = { .address = t->target, .port = t->target_port, .protocol = t->protocol };

	return e;
}

static __always_inline struct endpoint source_of(const struct tuple *t)
{
	struct endpoint e = { .address = t->source, .port = t->source_port, .protocol = t->protocol };

	return e;
}

// choose picks the backend of a flow; false if the frontend is gone. What was
// read counts only if the frontend still named these slots afterwards: slots
// that nothing names are written anew.
static __noinline bool choose(const struct tuple *t, const struct endpoint *key, struct frontend *front,
				   struct backend *backend)
{
	if (!t || !key || !front || !backend)
		return false;
	for (__u64 i = 0; i < ATTEMPTS; i++) {
		__u64 list = front->list;
		struct backend *found = NULL;
		__u32 slot, *id, page_number = front->page;
		void *page;

		if (!front->slots)
			return false;
		slot = front->offset + hash_of(t) % front->slots;
		page = bpf_map_lookup_elem(&pages, &page_number);
		if (page) {
			id = bpf_map_lookup_elem(page, &slot);
			if (id) {
				__u32 number = *id;

				found = bpf_map_lookup_elem(&backends, &number);
			}
		}
		if (found)
			*backend = *found;
		if (!copy_frontend(key, front))
			return false;
		if (found && front->list == list)
			return true;
	}
	return false;
}

#endif
