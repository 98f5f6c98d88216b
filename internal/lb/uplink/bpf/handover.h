// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// Connections that began on another node. When an address has moved here, its
// former owner still knows them, and serves what this node passes on.

#ifndef FAIRLEAD_HANDOVER_H
#define FAIRLEAD_HANDOVER_H

#include "start.h"

// came_from tells whether a machine sent a frame.
static __always_inline bool came_from(struct __sk_buff *skb, const __u8 *card)
{
	__u8 source[ETH_ALEN];

	if (bpf_skb_load_bytes(skb, offsetof(struct ethhdr, h_source), source, sizeof(source)))
		return false;
	for (int i = 0; i < ETH_ALEN; i++)
		if (source[i] != card[i])
			return false;
	return true;
}

// is_over tells whether a connection ended so long ago that its place may be taken:
// then a packet can be of a later one, that the same client began by another node.
static __noinline bool is_over(const struct tuple *t, const struct flow *f)
{
	struct tuple back;

	if (!t || !f || t->protocol != IPPROTO_TCP || !(f->state & (FINISHED | RESET)))
		return false;
	back = reversed(&f->to);
	return is_dead(t->protocol, f, bpf_map_lookup_elem(&replies, &back), true);
}

// pass_on gives a packet that belongs to no connection known here, as it is, to
// the node that its address came from. Each node on the way takes its toll from
// the TTL. One that comes back from there is dropped: for a moment after a move
// either may pass to the other, and the client will send again.
static __noinline int pass_on(struct __sk_buff *skb, const struct packet *p)
{
	struct passing *found;
	struct address next;
	struct route route;
	struct tuple to;

	if (!skb || !p || p->tuple.protocol != IPPROTO_TCP || p->flags & SYN || p->ttl <= 1)
		return TC_ACT_UNSPEC;
	found = bpf_map_lookup_elem(&passings, &p->tuple.target);
	if (!found || bpf_ktime_get_coarse_ns() > found->until)
		return TC_ACT_UNSPEC;
	to = p->tuple;
	to.target = found->to;
	if (is_tracked(skb, &p->tuple, p->ipv6, true))
		return TC_ACT_UNSPEC;
	if (route_to(skb, &to, p->ipv6, wire_length(skb, p), &route) || !by_uplink(&route))
		return TC_ACT_UNSPEC;
	// A router on the way would send it where the address is now.
	next = next_hop(&route);
	if (!same(&next, &to.target))
		return TC_ACT_UNSPEC;
	if (came_from(skb, route.card))
		return drop(DROPPED_RETURNED);
	if (decrement(skb, p))
		return drop(DROPPED_BROKEN);
	count(PASSED_ON);
	return bpf_redirect_neigh(route.interface, &route.next, sizeof(route.next), 0);
}

#endif
