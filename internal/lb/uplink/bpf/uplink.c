//go:build ignore

// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// The packet path for what arrives by a node's uplinks.
//
//   ingress   requests of clients, and answers of backends on other nodes
//   egress    answers of backends on this node
//   xdp       a short cut, where the driver has one
//
// What these programs do not handle they pass on as it is: nftables serves it.

#include "handover.h"
#include "icmp.h"
#include "xdp.h"

// translate changes a packet that the stack then carries on.
static __noinline int translate(struct __sk_buff *skb, const struct packet *p, const struct flow *f)
{
	struct tuple to;

	if (!skb || !p || !f)
		return TC_ACT_SHOT;
	to = f->to;
	return rewrite(skb, p, &to) ? drop(DROPPED_BROKEN) : TC_ACT_UNSPEC;
}

static __noinline int deliver(struct __sk_buff *skb, const struct packet *p, const struct flow *f)
{
	struct tuple to;

	if (!skb || !p || !f)
		return TC_ACT_SHOT;
	if (f->kind == TO_LOCAL)
		return translate(skb, p, f);
	to = f->to;
	return forward(skb, p, &to);
}

static __always_inline void count_kind(__u32 first, __u8 kind)
{
	count(first + kind - TO_LOCAL);
}

// prepare decides about a packet that belongs to no flow; 0: nftables serves it.
static __noinline int prepare(struct __sk_buff *skb, struct packet *p, struct flow *f)
{
	struct frontend front;
	struct backend backend;
	struct endpoint key;
	bool first;

	if (!skb || !p || !f)
		return 0;
	key = target_of(&p->tuple);
	first = (p->flags & (SYN | ACK | RST | FIN)) == SYN;
	if (!find_frontend(&key, &front, OWN)) {
		if (first)
			accept(skb, p);
		return 0;
	}
	if (front.flags & PASSIVE)
		return 0;
	if (p->ttl <= 1 || node_flags(&p->tuple.source))
		return 0;
	if (!first && (p->flags & (SYN | RST) || is_tracked(skb, &p->tuple, p->ipv6, true))) {
		count(PASSED_TRACKED);
		return 0;
	}
	if (!choose(&p->tuple, &key, &front, &backend))
		return 0;
	f->list = front.list;
	f->used = bpf_ktime_get_coarse_ns();
	// A NodePort is believed at addresses alone that every node knows to be a node's.
	if (!same(&key.address, &p->tuple.target) && !(node_flags(&p->tuple.target) & PEER))
		front.flags &= ~DIRECT;
	f->kind = decide_kind(skb, p, &backend, f, front.flags);
	if (!f->kind)
		count(PASSED_ROUTE);
	// A node that knows nothing of a connection cannot know its port either.
	if (f->kind == TO_REMOTE && p->tuple.protocol == IPPROTO_TCP && !first)
		return 0;
	return f->kind;
}

// start makes a flow of a packet that belongs to none.
static __noinline int start(struct __sk_buff *skb, struct packet *p)
{
	struct flow f = {}, *old;
	int verdict;

	if (!skb || !p)
		return TC_ACT_UNSPEC;
	verdict = pass_on(skb, p);
	if (verdict != TC_ACT_UNSPEC || p->later)
		return verdict;
	if (!prepare(skb, p, &f)) {
		// nftables gets the connection that this begins: what follows must not go
		// where an earlier one of the same ports went.
		if ((p->flags & (SYN | ACK | RST | FIN)) == SYN) {
			old = bpf_map_lookup_elem(&flows, &p->tuple);
			if (old)
				forget(&p->tuple, old);
		}
		return TC_ACT_UNSPEC;
	}
	if (!record(skb, &p->tuple, &f, p->tuple.protocol == IPPROTO_UDP || p->flags & SYN))
		return TC_ACT_UNSPEC;
	count_kind(STARTED_LOCAL, f.kind);
	if (f.kind == TO_DIRECT && p->flags & SYN && add_option(skb, p))
		return drop(DROPPED_BROKEN);
	return deliver(skb, p, &f);
}

// is_current tells whether a UDP flow may go on: TCP stays with its backend,
// but what has no connection leaves a backend that is gone.
static __noinline bool is_current(const struct tuple *t, struct flow *f)
{
	struct endpoint key, backend;
	struct frontend front;

	if (!t || !f)
		return false;
	if (t->protocol == IPPROTO_TCP)
		return true;
	key = target_of(t);
	if (!find_frontend(&key, &front, OWN) || front.flags & PASSIVE)
		return false;
	if (f->list != front.list) {
		backend = target_of(&f->to);
		if (!is_member(front.list, &backend))
			return false;
		f->list = front.list;
	}
	return bpf_ktime_get_coarse_ns() - f->used <= datagrams_seconds * SECOND;
}

// is_owned tells whether answers to a flow still come back to it.
static __noinline bool is_owned(const struct tuple *t, const struct flow *f)
{
	struct tuple back, there;
	struct flow *reply;

	if (!t || !f)
		return false;
	back = reversed(&f->to);
	there = reversed(t);
	reply = bpf_map_lookup_elem(&replies, &back);
	return reply && same_tuple(&reply->to, &there);
}

SEC("tc")
int uplink_ingress(struct __sk_buff *skb)
{
	struct packet p = {};
	struct flow *f;
	enum what what;
	int verdict;

	if (skb->pkt_type != 0) // PACKET_HOST
		return TC_ACT_UNSPEC;
	what = parse(skb, &p);
	if (what == ICMP_ERROR)
		return error_ingress(skb, &p);
	if (what != FLOW)
		return TC_ACT_UNSPEC;
	f = bpf_map_lookup_elem(&flows, &p.tuple);
	if (f && (p.flags & (SYN | ACK)) != SYN) {
		if (is_over(&p.tuple, f)) {
			verdict = pass_on(skb, &p);
			if (verdict != TC_ACT_UNSPEC)
				return verdict;
		}
		if (!is_current(&p.tuple, f) || (touch(f, &p, false) && f->kind != TO_DIRECT && !is_owned(&p.tuple, f))) {
			forget(&p.tuple, f);
			return start(skb, &p);
		}
		count_kind(FORWARDED_LOCAL, f->kind);
		return deliver(skb, &p, f);
	}
	if (!f && (__u16)(bpf_ntohs(p.tuple.target_port) - port_first) < port_count) {
		f = bpf_map_lookup_elem(&replies, &p.tuple);
		if (f && f->kind == TO_REMOTE) {
			touch(f, &p, true);
			count(FORWARDED_REPLY);
			return deliver(skb, &p, f);
		}
	}
	return start(skb, &p);
}

SEC("tc")
int uplink_egress(struct __sk_buff *skb)
{
	struct packet p = {};
	struct flow *f;
	enum what what;

	what = parse(skb, &p);
	if (what == ICMP_ERROR)
		return error_egress(skb, &p);
	if (what != FLOW)
		return TC_ACT_UNSPEC;
	f = bpf_map_lookup_elem(&replies, &p.tuple);
	if (!f || f->kind == TO_REMOTE)
		return TC_ACT_UNSPEC;
	touch(f, &p, true);
	count(FORWARDED_REPLY);
	return translate(skb, &p, f);
}

SEC("xdp")
int uplink_xdp(struct xdp_md *ctx)
{
	struct frame frame = {};
	struct packet *p = &frame.packet;
	struct flow *f;
	int verdict;

	if (!is_ours(ctx) || !read_frame(ctx, &frame) || p->ttl <= 1 || p->flags & SYN)
		return XDP_PASS;
	f = bpf_map_lookup_elem(&flows, &p->tuple);
	if (f) {
		// What is not plain is decided behind.
		if (f->kind == TO_LOCAL || f->state & (FINISHED | RESET) || !is_current(&p->tuple, f))
			return XDP_PASS;
		if (f->kind == TO_REMOTE && !is_owned(&p->tuple, f))
			return XDP_PASS;
		verdict = send(ctx, &frame, f);
		if (verdict == XDP_PASS)
			return XDP_PASS;
		touch(f, p, false);
		count_kind(FORWARDED_LOCAL, f->kind);
		return verdict;
	}
	if ((__u16)(bpf_ntohs(p->tuple.target_port) - port_first) >= port_count)
		return XDP_PASS;
	f = bpf_map_lookup_elem(&replies, &p->tuple);
	if (!f || f->kind != TO_REMOTE)
		return XDP_PASS;
	verdict = send(ctx, &frame, f);
	if (verdict == XDP_PASS)
		return XDP_PASS;
	touch(f, p, true);
	count(FORWARDED_REPLY);
	return verdict;
}

char _license[] SEC("license") = "Dual BSD/GPL";
