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

// client_port returns the port that a client is given in place of its own, by the
// number of attempts; 0 if there is none to give.
static __noinline __be16 client_port(const struct tuple *asked, __u8 kind, __u32 attempt)
{
	__u16 first = CLIENT_PORT_FIRST, ports = CLIENT_PORTS;
	__u32 start;

	if (!asked)
		return 0;
	if (kind == TO_REMOTE) {
		first = port_first;
		ports = port_count;
	}
	if (!ports)
		return 0;
	start = hash_of(asked);
	return bpf_htons(first + ((start & 0xffff) + attempt * (start >> 16 | 1)) % ports);
}

// take_reply reserves the tuple by which answers to a flow come back. Where this
// node is the sender, it finds a port for that; for an endpoint here only if the
// client's own is taken, as by its connection to another Service of that endpoint.
// What is under way (not begins) came by the client's own port if it came by this node.
static __noinline bool take_reply(struct __sk_buff *skb, const struct tuple *asked, struct flow *f, bool begins)
{
	if (!skb || !asked || !f)
		return false;
	for (__u32 i = 0; i < 2 * TRIES; i++) {
		struct flow value;
		struct tuple key;

		if (i || f->kind == TO_REMOTE)
			f->to.source_port = client_port(asked, f->kind, i);
		if (!f->to.source_port)
			return false;
		key = reversed(&f->to);
		// The stack may use this port itself, as for a connection that is older than
		// these programs, or one from the client to the endpoint's own address.
		if ((i || f->kind == TO_REMOTE) && is_tracked(skb, &key, !is_ipv4(&asked->source), false))
			continue;
		value = reply_of(asked, f);
		if (take(&key, &value, i >= TRIES))
			return true;
		if (!begins)
			return false;
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
static __noinline bool record(struct __sk_buff *skb, const struct tuple *asked, struct flow *f, bool begins)
{
	struct flow *old;

	if (!skb || !asked || !f)
		return false;
	old = bpf_map_lookup_elem(&flows, asked);
	if (!old || !keep(asked, old, f)) {
		if (old)
			forget(asked, old);
		// Where the endpoint's node answers, that node notes how.
		if (f->kind != TO_DIRECT && !take_reply(skb, asked, f, begins)) {
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
