// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// New flows: whether they are handled here at all, and how.

#ifndef FAIRLEAD_START_H
#define FAIRLEAD_START_H

#include "direct.h"

// What the kernel calls its connections; only asked for, never looked into.
struct nf_conn {
	unsigned long status;
};

struct bpf_ct_opts {
	__s32 netns_id;
	__s32 error;
	__u8 l4proto;
	__u8 dir;
	__u8 reserved[2];
};

extern struct nf_conn *bpf_skb_ct_lookup(struct __sk_buff *skb, struct bpf_sock_tuple *tuple, __u32 tuple_size,
					 struct bpf_ct_opts *opts, __u32 opts_size) __ksym __weak;
extern void bpf_ct_release(struct nf_conn *connection) __ksym __weak;

// is_tracked tells whether the stack carries a connection already. The caller
// says what to think where the kernel cannot be asked.
static __noinline bool is_tracked(struct __sk_buff *skb, const struct tuple *t, bool ipv6, bool otherwise)
{
	struct bpf_ct_opts options = { .netns_id = -1, .l4proto = t->protocol };
	struct bpf_sock_tuple tuple = {};
	struct nf_conn *connection;

	if (!skb || !t || !bpf_skb_ct_lookup || !bpf_ct_release)
		return otherwise;
	if (ipv6) {
		__builtin_memcpy(tuple.ipv6.saddr, &t->source, sizeof(struct address));
		__builtin_memcpy(tuple.ipv6.daddr, &t->target, sizeof(struct address));
		tuple.ipv6.sport = t->source_port;
		tuple.ipv6.dport = t->target_port;
		connection = bpf_skb_ct_lookup(skb, &tuple, sizeof(tuple.ipv6), &options, sizeof(options));
	} else {
		tuple.ipv4.saddr = t->source.word[3];
		tuple.ipv4.daddr = t->target.word[3];
		tuple.ipv4.sport = t->source_port;
		tuple.ipv4.dport = t->target_port;
		connection = bpf_skb_ct_lookup(skb, &tuple, sizeof(tuple.ipv4), &options, sizeof(options));
	}
	if (!connection)
		return false;
	bpf_ct_release(connection);
	return true;
}

// reply_of is the other direction of a flow.
static __always_inline struct flow reply_of(const struct tuple *asked, const struct flow *f)
{
	struct flow r = { .to = reversed(asked), .list = f->list, .used = f->used, .kind = f->kind };

	return r;
}

// take_reply reserves the tuple by which answers to a flow come back. Where
// this node is the sender, it finds a port for that.
static __noinline bool take_reply(struct __sk_buff *skb, const struct tuple *asked, struct flow *f, bool ipv6)
{
	__u64 tries = 1;
	__u32 start = 0, step = 1;

	if (!skb || !asked || !f)
		return false;
	if (f->kind == TO_REMOTE) {
		if (!port_count)
			return false;
		tries = TRIES;
		start = hash_of(asked);
		step = start >> 16 | 1;
		start &= 0xffff;
	}
	for (__u64 i = 0; i < TRIES && i < tries; i++) {
		struct tuple key;
		struct flow value;

		if (f->kind == TO_REMOTE)
			f->to.source_port = bpf_htons(port_first + (start + i * step) % port_count);
		key = reversed(&f->to);
		// nftables may have sent from this port before it left these to us, and
		// other proxies may still.
		if (f->kind == TO_REMOTE && is_tracked(skb, &key, ipv6, false))
			continue;
		value = reply_of(asked, f);
		if (take(&key, &value))
			return true;
	}
	return false;
}

// decide_kind says how a new flow reaches its backend, and checks that both
// ways are open. 0: nftables is to serve it.
static __noinline int decide_kind(struct __sk_buff *skb, const struct packet *p, const struct backend *backend,
				  struct flow *f, __u32 flags)
{
	struct address towards_client;
	struct uplink *uplink;
	struct route route;
	struct tuple back;

	if (!skb || !p || !backend || !f)
		return 0;
	back = reversed(&p->tuple);
	if (route_to(skb, &back, p->ipv6, 0, &route) || !by_uplink(&route))
		return 0;
	towards_client = next_hop(&route);
	f->to.source = p->tuple.source;
	f->to.source_port = p->tuple.source_port;
	f->to.target = backend->at.address;
	f->to.target_port = backend->at.port;
	f->to.protocol = p->tuple.protocol;
	if (backend->flags & LOCAL)
		return TO_LOCAL;
	if (route_to(skb, &f->to, p->ipv6, wire_length(skb, p), &route))
		return 0;
	uplink = by_uplink(&route);
	if (!uplink)
		return 0;
	// A client behind another node, as its pods are, may be on the endpoint's own
	// node, where the answer would not leave by an uplink.
	if (flags & DIRECT && backend->flags & ANSWERS && p->tuple.protocol == IPPROTO_TCP &&
	    !(node_flags(&towards_client) & PEER) &&
	    !same(&p->tuple.source, &backend->at.address) && (!(p->flags & SYN) || has_room(skb, p)))
		return TO_DIRECT;
	f->to.source = p->ipv6 ? uplink->v6 : uplink->v4;
	return f->to.source.word[3] ? TO_REMOTE : 0;
}

// keep tells whether a repeated SYN finds its flow as it would be made anew.
static __noinline bool keep(const struct tuple *asked, const struct flow *old, struct flow *f)
{
	struct tuple back, there;
	struct flow *reply;

	if (!asked || !old || !f)
		return false;
	back = reversed(&old->to);
	there = reversed(asked);
	if (old->kind != f->kind || f->kind == TO_DIRECT || !same(&old->to.target, &f->to.target) || old->to.target_port != f->to.target_port ||
	    !same(&old->to.source, &f->to.source))
		return false;
	reply = bpf_map_lookup_elem(&replies, &back);
	if (!reply || !same_tuple(&reply->to, &there))
		return false;
	reply->state = 0;
	reply->used = f->used;
	f->to.source_port = old->to.source_port;
	return true;
}

// record enters both directions of a flow.
static __noinline bool record(struct __sk_buff *skb, const struct tuple *asked, struct flow *f, bool ipv6)
{
	struct flow *old;

	if (!skb || !asked || !f)
		return false;
	old = bpf_map_lookup_elem(&flows, asked);
	if (!old || !keep(asked, old, f)) {
		if (old)
			forget(asked, old);
		// Where the endpoint's node answers, that node notes how.
		if (f->kind != TO_DIRECT && !take_reply(skb, asked, f, ipv6)) {
			count(PASSED_NO_PORT);
			return false;
		}
	}
	if (!bpf_map_update_elem(&flows, asked, f, BPF_ANY))
		return true;
	forget(asked, f);
	count(PASSED_FULL);
	return false;
}

#endif
