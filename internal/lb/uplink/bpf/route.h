// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// Where a packet leaves the node.

#ifndef FAIRLEAD_ROUTE_H
#define FAIRLEAD_ROUTE_H

#include "rewrite.h"

#define AF_INET 2
#define AF_INET6 10

struct route {
	__u32 interface;
	struct bpf_redir_neigh next;
	__u8 card[6]; // the next machine's Ethernet address; zeros while it is not known
	__u8 pad[2];
};

// next_hop is the address of the next machine on the way.
static __always_inline struct address next_hop(const struct route *r)
{
	struct address a;

	if (r->next.nh_family == AF_INET)
		set_ipv4(&a, r->next.ipv4_nh);
	else
		__builtin_memcpy(&a, r->next.ipv6_nh, sizeof(a));
	return a;
}

// wire_length is the length of the longest IP packet that p becomes on the wire.
static __always_inline __u16 wire_length(struct __sk_buff *skb, const struct packet *p)
{
	if (skb->gso_size)
		return p->l4 - ETH_HLEN + (p->tuple.protocol == IPPROTO_TCP ? p->header : sizeof(struct udphdr)) +
		       skb->gso_size;
	return p->end - ETH_HLEN;
}

// route_to finds the way of a packet that has these addresses; 0 or one of
// BPF_FIB_LKUP_RET_*. The neighbour may yet have to be asked for.
static __always_inline int route_to(struct __sk_buff *skb, const struct tuple *t, bool ipv6, __u16 length,
				    struct route *r)
{
	struct bpf_fib_lookup fib = {
		.l4_protocol = t->protocol,
		.sport = t->source_port,
		.dport = t->target_port,
		.tot_len = length,
		.ifindex = skb->ifindex,
	};
	int result;

	if (ipv6) {
		fib.family = AF_INET6;
		__builtin_memcpy(fib.ipv6_src, &t->source, sizeof(struct address));
		__builtin_memcpy(fib.ipv6_dst, &t->target, sizeof(struct address));
	} else {
		fib.family = AF_INET;
		fib.ipv4_src = t->source.word[3];
		fib.ipv4_dst = t->target.word[3];
	}
	__builtin_memset(r->card, 0, sizeof(r->card));
	result = bpf_fib_lookup(skb, &fib, sizeof(fib), 0);
	if (!result)
		__builtin_memcpy(r->card, fib.dmac, sizeof(r->card));
	if (result == BPF_FIB_LKUP_RET_NO_NEIGH)
		result = 0;
	r->interface = fib.ifindex;
	r->next.nh_family = fib.family;
	if (fib.family == AF_INET) {
		__builtin_memset(r->next.ipv6_nh, 0, sizeof(r->next.ipv6_nh));
		r->next.ipv4_nh = fib.ipv4_dst;
	} else {
		__builtin_memcpy(r->next.ipv6_nh, fib.ipv6_dst, sizeof(r->next.ipv6_nh));
	}
	return result;
}

static __always_inline struct uplink *by_uplink(const struct route *r)
{
	__u32 interface = r->interface;

	return bpf_map_lookup_elem(&uplinks, &interface);
}

static __always_inline int drop(enum counter why)
{
	count(why);
	return TC_ACT_SHOT;
}

// forward sends a packet to its new target. It is no longer a packet that the
// stack could make sense of, so what cannot be sent is dropped.
static __noinline int forward(struct __sk_buff *skb, const struct packet *p, const struct tuple *to)
{
	struct route route;
	int result;

	if (!skb || !p || !to)
		return TC_ACT_SHOT;
	if (p->ttl <= 1)
		return drop(DROPPED_TTL);
	result = route_to(skb, to, p->ipv6, wire_length(skb, p), &route);
	if (result == BPF_FIB_LKUP_RET_FRAG_NEEDED)
		return drop(DROPPED_TOO_BIG);
	if (result)
		return drop(DROPPED_ROUTE);
	if (decrement(skb, p) || rewrite(skb, p, to))
		return drop(DROPPED_BROKEN);
	return bpf_redirect_neigh(route.interface, &route.next, sizeof(route.next), 0);
}

#endif
