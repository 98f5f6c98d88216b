// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// ICMP errors about flows. They quote a packet as it was where it failed; both
// the quote and the error itself are given the addresses of the other side.

#ifndef FAIRLEAD_ICMP_H
#define FAIRLEAD_ICMP_H

#include "route.h"

#define ICMP_HEADER 8
#define ICMP_CHECKSUM 2

// quote is the packet that an error is about.
struct quote {
	struct tuple tuple;
	__u16 ip; // offset of its IP header
	__u16 l4;
	__u16 checksum; // offset of its transport checksum; 0 if none is quoted
};

static __always_inline __u32 sum(__u32 a, __u32 b)
{
	__u64 s = (__u64)a + b;

	return (__u32)s + (__u32)(s >> 32);
}

static __noinline bool read_quote(struct __sk_buff *skb, const struct packet *p, struct quote *q)
{
	struct ports ports;
	__u16 checksum;

	if (!skb || !p || !q)
		return false;
	q->ip = p->l4 + ICMP_HEADER;
	if (p->ipv6) {
		struct ipv6hdr ip;

		if (bpf_skb_load_bytes(skb, q->ip, &ip, sizeof(ip)) || ip.version != 6)
			return false;
		__builtin_memcpy(&q->tuple.source, &ip.saddr, sizeof(struct address));
		__builtin_memcpy(&q->tuple.target, &ip.daddr, sizeof(struct address));
		q->tuple.protocol = ip.nexthdr;
		q->l4 = q->ip + sizeof(ip);
	} else {
		struct iphdr ip;

		if (bpf_skb_load_bytes(skb, q->ip, &ip, sizeof(ip)) || ip.version != 4 || ip.ihl != 5 ||
		    ip.frag_off & bpf_htons(IP4_OFFSET))
			return false;
		set_ipv4(&q->tuple.source, ip.saddr);
		set_ipv4(&q->tuple.target, ip.daddr);
		q->tuple.protocol = ip.protocol;
		q->l4 = q->ip + sizeof(ip);
	}
	// Eight bytes of the transport header are always quoted.
	if (q->l4 + 8 > p->end || p->end > skb->len || bpf_skb_load_bytes(skb, q->l4, &ports, sizeof(ports)))
		return false;
	q->tuple.source_port = ports.source;
	q->tuple.target_port = ports.target;
	if (q->tuple.protocol == IPPROTO_UDP)
		q->checksum = q->l4 + offsetof(struct udphdr, check);
	else if (q->tuple.protocol != IPPROTO_TCP)
		return false;
	else if (q->l4 + offsetof(struct tcphdr, check) + 2 <= p->end)
		q->checksum = q->l4 + offsetof(struct tcphdr, check);
	if (q->checksum && bpf_skb_load_bytes(skb, q->checksum, &checksum, 2))
		return false;
	if (q->tuple.protocol == IPPROTO_UDP && !checksum)
		q->checksum = 0;
	return true;
}

// rewrite_quote gives the quoted packet another tuple, and sets by how much the
// sum over the quote changes.
static __noinline int rewrite_quote(struct __sk_buff *skb, const struct packet *p, const struct quote *q,
				    const struct tuple *to, __u32 *change)
{
	struct ports old, new;
	__s64 addresses, ports;

	if (!skb || !p || !q || !to || !change)
		return -1;
	old.source = q->tuple.source_port;
	old.target = q->tuple.target_port;
	new.source = to->source_port;
	new.target = to->target_port;
	ports = bpf_csum_diff((__be32 *)&old, sizeof(old), (__be32 *)&new, sizeof(new), 0);
	if (p->ipv6) {
		addresses = bpf_csum_diff((__be32 *)&q->tuple, 32, (__be32 *)to, 32, 0);
		*change = sum(addresses, ports);
		if (bpf_skb_store_bytes(skb, q->ip + offsetof(struct ipv6hdr, saddr), to, 32, 0))
			return -1;
	} else {
		__be32 was[2] = { q->tuple.source.word[3], q->tuple.target.word[3] };
		__be32 is[2] = { to->source.word[3], to->target.word[3] };

		// The quoted header's checksum makes good its addresses.
		addresses = bpf_csum_diff(was, sizeof(was), is, sizeof(is), 0);
		*change = ports;
		if (bpf_l3_csum_replace(skb, q->ip + offsetof(struct iphdr, check), 0, addresses, 0) ||
		    bpf_skb_store_bytes(skb, q->ip + offsetof(struct iphdr, saddr), is, sizeof(is), 0))
			return -1;
	}
	if (bpf_skb_store_bytes(skb, q->l4, &new, sizeof(new), 0))
		return -1;
	if (!q->checksum)
		return 0;
	// And the transport's checksum both, in its pseudo header and its ports.
	*change = sum(*change, ~sum(addresses, ports));
	return bpf_l4_csum_replace(skb, q->checksum, 0, sum(addresses, ports),
				   q->tuple.protocol == IPPROTO_UDP ? BPF_F_MARK_MANGLED_0 : 0);
}

// rewrite_error makes an error be about a packet that has another tuple.
static __noinline int rewrite_error(struct __sk_buff *skb, const struct packet *p, const struct quote *q,
				    const struct tuple *outer, const struct tuple *inner)
{
	__s64 difference;
	__u32 change;

	if (!skb || !p || !q || !outer || !inner)
		return -1;
	if (set_addresses(skb, p, outer, &difference))
		return -1;
	if (p->ipv6 && bpf_l4_csum_replace(skb, p->l4 + ICMP_CHECKSUM, 0, difference, BPF_F_PSEUDO_HDR))
		return -1;
	if (rewrite_quote(skb, p, q, inner, &change))
		return -1;
	return bpf_l4_csum_replace(skb, p->l4 + ICMP_CHECKSUM, 0, change, 0);
}

// carry sends an error the way of a flow's packets, or lets the stack do it.
static __noinline int carry(struct __sk_buff *skb, const struct packet *p, const struct quote *q, const struct flow *f,
			    bool stack)
{
	struct tuple inner, outer;
	struct route route;

	if (!skb || !p || !q || !f)
		return TC_ACT_UNSPEC;
	inner = reversed(&f->to);
	outer = f->to;
	outer.protocol = p->tuple.protocol;
	outer.source_port = outer.target_port = 0;
	if (same(&f->to.source, &q->tuple.target))
		// The client speaks for itself in this flow; so may who reports.
		outer.source = p->tuple.source;
	if (!stack) {
		if (p->ttl <= 1)
			return drop(DROPPED_TTL);
		if (route_to(skb, &outer, p->ipv6, p->end - ETH_HLEN, &route))
			return drop(DROPPED_ROUTE);
		if (decrement(skb, p))
			return drop(DROPPED_BROKEN);
	}
	if (rewrite_error(skb, p, q, &outer, &inner))
		return drop(DROPPED_BROKEN);
	count(FORWARDED_ERROR);
	if (stack)
		return TC_ACT_UNSPEC;
	return bpf_redirect_neigh(route.interface, &route.next, sizeof(route.next), 0);
}

static __noinline int error_ingress(struct __sk_buff *skb, const struct packet *p)
{
	struct quote q = {};
	struct tuple about;
	struct flow *f;

	if (!skb || !p || !read_quote(skb, p, &q))
		return TC_ACT_UNSPEC;
	about = reversed(&q.tuple);
	f = bpf_map_lookup_elem(&flows, &about);
	if (f)
		return carry(skb, p, &q, f, f->kind == TO_LOCAL);
	f = bpf_map_lookup_elem(&replies, &about);
	if (f && f->kind == TO_REMOTE)
		return carry(skb, p, &q, f, false);
	return TC_ACT_UNSPEC;
}

static __noinline int error_egress(struct __sk_buff *skb, const struct packet *p)
{
	struct quote q = {};
	struct tuple about;
	struct flow *f;

	if (!skb || !p || !read_quote(skb, p, &q))
		return TC_ACT_UNSPEC;
	about = reversed(&q.tuple);
	f = bpf_map_lookup_elem(&replies, &about);
	if (f && f->kind != TO_REMOTE)
		return carry(skb, p, &q, f, true);
	return TC_ACT_UNSPEC;
}

#endif
