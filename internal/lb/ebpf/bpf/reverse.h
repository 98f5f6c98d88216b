// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// What a socket was told, kept with the socket, so that the application sees
// the address that it asked for and not the backend's.

#ifndef FAIRLEAD_REVERSE_H
#define FAIRLEAD_REVERSE_H

#include "decide.h"

// note_connected records the translation of a connection.
static __always_inline void note_connected(struct bpf_sock *sk, const struct endpoint *service,
					   const struct endpoint *backend)
{
	struct translation *entry = bpf_sk_storage_get(&connected, sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);

	if (!entry)
		return;
	entry->service = *service;
	entry->backend = *backend;
}

// note_unconnected records the translation of a datagram, unless it is known.
static __always_inline void note_unconnected(struct bpf_sock *sk, const struct endpoint *service,
					     const struct endpoint *backend)
{
	struct ring *ring = bpf_sk_storage_get(&unconnected, sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
	struct translation *last;

	if (!ring)
		return;
	bpf_spin_lock(&ring->lock);
	last = &ring->entries[(ring->next - 1) % RING_SIZE];
	if (!same(&last->service, service) || !same(&last->backend, backend)) {
		last = &ring->entries[ring->next % RING_SIZE];
		last->service = *service;
		last->backend = *backend;
		ring->next++;
	}
	bpf_spin_unlock(&ring->lock);
}

// used_before copies the backend that an unconnected socket had last for a
// Service; its protocol stays 0 if there is none.
static __always_inline void used_before(struct bpf_sock *sk, const struct endpoint *service,
					struct endpoint *backend)
{
	struct ring *ring = bpf_sk_storage_get(&unconnected, sk, NULL, 0);

	if (!ring)
		return;
	bpf_spin_lock(&ring->lock);
	for (__u32 i = 1; i <= RING_SIZE; i++) {
		struct translation *entry = &ring->entries[(ring->next - i) % RING_SIZE];

		if (same(&entry->service, service)) {
			*backend = entry->backend;
			break;
		}
	}
	bpf_spin_unlock(&ring->lock);
}

// peer_service replaces a backend by the Service that a connected socket asked
// for.
static __always_inline bool peer_service(struct bpf_sock *sk, struct endpoint *peer)
{
	struct translation *entry = bpf_sk_storage_get(&connected, sk, NULL, 0);

	if (!entry || !same(&entry->backend, peer))
		return false;
	*peer = entry->service;
	return true;
}

// sender_service replaces a backend by the Service that an unconnected socket
// last sent to.
static __always_inline bool sender_service(struct bpf_sock *sk, struct endpoint *peer)
{
	struct ring *ring = bpf_sk_storage_get(&unconnected, sk, NULL, 0);
	bool found = false;

	if (!ring)
		return false;
	bpf_spin_lock(&ring->lock);
	for (__u32 i = 1; i <= RING_SIZE; i++) {
		struct translation *entry = &ring->entries[(ring->next - i) % RING_SIZE];

		if (same(&entry->backend, peer)) {
			*peer = entry->service;
			found = true;
			break;
		}
	}
	bpf_spin_unlock(&ring->lock);
	return found;
}

#endif
