// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// UDP sockets that are connected to a backend which left its Service. Nothing
// runs any more when such a socket sends, so it has to be found and ended: its
// program gets ECONNABORTED and connects anew, instead of sending into the void.

#ifndef FAIRLEAD_RELEASE_H
#define FAIRLEAD_RELEASE_H

#include "decide.h"

// What is read of the kernel's own types; offsets are those of the running
// kernel (CO-RE).
#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct in6_addr {
	union {
		__be32 u6_addr32[4];
	} in6_u;
};

struct sock_common {
	__be32 skc_daddr;
	__be16 skc_dport;
	unsigned short skc_family;
	struct in6_addr skc_v6_daddr;
};

struct sock {
	struct sock_common __sk_common;
};

struct inet_sock {
	struct sock sk;
};

struct udp_sock {
	struct inet_sock inet;
};

struct bpf_iter_meta;

struct bpf_iter__udp {
	struct bpf_iter_meta *meta;
	struct udp_sock *udp_sk;
};

#pragma clang attribute pop

#define AF_INET6 10

extern int bpf_sock_destroy(struct sock_common *sock) __ksym;

// peer_of reads whom a socket is connected to.
static __always_inline void peer_of(struct udp_sock *sk, struct endpoint *peer)
{
	struct sock_common *common = &sk->inet.sk.__sk_common;

	peer->protocol = IPPROTO_UDP;
	peer->port = common->skc_dport;
	if (common->skc_family == AF_INET6) {
		peer->address[0] = common->skc_v6_daddr.in6_u.u6_addr32[0];
		peer->address[1] = common->skc_v6_daddr.in6_u.u6_addr32[1];
		peer->address[2] = common->skc_v6_daddr.in6_u.u6_addr32[2];
		peer->address[3] = common->skc_v6_daddr.in6_u.u6_addr32[3];
		return;
	}
	peer->address[2] = bpf_htonl(0xffff);
	peer->address[3] = common->skc_daddr;
}

// serves tells whether a backend is still one of those that a Service's address
// leads to. The address may be that of a NodePort.
static __always_inline bool serves(const struct endpoint *service, const struct endpoint *backend)
{
	struct endpoint key = *service;
	struct frontend *front = bpf_map_lookup_elem(&frontends, &key);

	if (!front) {
		generalize(&key);
		front = bpf_map_lookup_elem(&frontends, &key);
	}
	return front && front->count && is_member(front->list, backend);
}

#endif
