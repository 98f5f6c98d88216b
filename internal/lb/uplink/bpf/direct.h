// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// Direct return. The SYN tells the endpoint's node which frontend the client
// asked for, in a TCP option at the very end: kind 253 (for experiments, RFC
// 4727), length, port, address. The option stays in the packet; a stack ignores
// options it does not know.

#ifndef FAIRLEAD_DIRECT_H
#define FAIRLEAD_DIRECT_H

#include "flows.h"
#include "route.h"

#define OPTION_KIND 253
#define OPTION4_LENGTH 8
#define OPTION6_LENGTH 20
#define TCP_LONGEST 60

struct option {
	__u8 kind;
	__u8 length;
	__be16 port;
	__be32 address[4]; // of IPv4 the first word only
};

static __always_inline __u8 option_length(const struct packet *p)
{
	return p->ipv6 ? OPTION6_LENGTH : OPTION4_LENGTH;
}

// has_room tells whether the option fits into a SYN.
static __always_inline bool has_room(struct __sk_buff *skb, const struct packet *p)
{
	return !skb->gso_size && p->l4 + p->header == p->end && p->header + option_length(p) <= TCP_LONGEST;
}

static __always_inline int set_length(struct __sk_buff *skb, const struct packet *p, __u8 more)
{
	__be16 old, new;

	if (p->ipv6) {
		new = bpf_htons(p->end + more - p->l4);
		return bpf_skb_store_bytes(skb, ETH_HLEN + offsetof(struct ipv6hdr, payload_len), &new, 2,
					   BPF_F_RECOMPUTE_CSUM);
	}
	old = bpf_htons(p->end - ETH_HLEN);
	new = bpf_htons(p->end + more - ETH_HLEN);
	if (bpf_l3_csum_replace(skb, ETH_HLEN + offsetof(struct iphdr, check), old, new, 2))
		return -1;
	return bpf_skb_store_bytes(skb, ETH_HLEN + offsetof(struct iphdr, tot_len), &new, 2, 0);
}

// add_option writes which frontend a SYN is for. What fails leaves a packet to
// drop.
static __noinline int add_option(struct __sk_buff *skb, struct packet *p)
{
	struct option option = { .kind = OPTION_KIND };
	__be16 old, new, was, is;
	__u32 checksum;
	__u8 length;
	__s64 added;

	if (!skb || !p)
		return -1;
	length = option_length(p);
	checksum = checksum_offset(p);
	option.length = length;
	option.port = p->tuple.target_port;
	if (p->ipv6)
		__builtin_memcpy(option.address, &p->tuple.target, sizeof(option.address));
	else
		option.address[0] = p->tuple.target.word[3];
	if (bpf_skb_change_tail(skb, p->end + length, 0) || bpf_skb_load_bytes(skb, p->l4 + 12, &old, 2))
		return -1;
	if (p->ipv6) {
		added = bpf_csum_diff(NULL, 0, (__be32 *)&option, OPTION6_LENGTH, 0);
		if (bpf_skb_store_bytes(skb, p->end, &option, OPTION6_LENGTH, 0))
			return -1;
	} else {
		added = bpf_csum_diff(NULL, 0, (__be32 *)&option, OPTION4_LENGTH, 0);
		if (bpf_skb_store_bytes(skb, p->end, &option, OPTION4_LENGTH, 0))
			return -1;
	}
	new = bpf_htons(bpf_ntohs(old) + ((__u16)(length / 4) << 12));
	was = bpf_htons(p->end - p->l4);
	is = bpf_htons(p->end + length - p->l4);
	if (bpf_skb_store_bytes(skb, p->l4 + 12, &new, 2, 0) ||
	    bpf_l4_csum_replace(skb, checksum, 0, added, 0) ||
	    bpf_l4_csum_replace(skb, checksum, old, new, 2) ||
	    bpf_l4_csum_replace(skb, checksum, was, is, BPF_F_PSEUDO_HDR | 2) || set_length(skb, p, length))
		return -1;
	p->end += length;
	p->header += length;
	return 0;
}

// read_option reads the frontend that a SYN names.
static __always_inline bool read_option(struct __sk_buff *skb, const struct packet *p, struct endpoint *frontend)
{
	struct option option = {};

	if (p->header < sizeof(struct tcphdr) + option_length(p))
		return false;
	if (p->ipv6) {
		if (bpf_skb_load_bytes(skb, p->l4 + p->header - OPTION6_LENGTH, &option, OPTION6_LENGTH))
			return false;
		__builtin_memcpy(&frontend->address, option.address, sizeof(struct address));
	} else {
		if (bpf_skb_load_bytes(skb, p->l4 + p->header - OPTION4_LENGTH, &option, OPTION4_LENGTH))
			return false;
		set_ipv4(&frontend->address, option.address[0]);
	}
	frontend->port = option.port;
	frontend->protocol = IPPROTO_TCP;
	return option.kind == OPTION_KIND && option.length == option_length(p);
}

// believe checks the frontend that a SYN to an endpoint names, and fills in a
// flow's frontend. Whoever can reach endpoints may write such an option: it
// counts only if this node itself knows that frontend, with this endpoint, and
// never if a node sent it, which may have forwarded a client's own option.
static __noinline bool believe(struct __sk_buff *skb, const struct packet *p, struct flow *f)
{
	struct endpoint key = {}, backend;
	struct frontend front;

	if (!skb || !p || !f || !read_option(skb, p, &key) || node_flags(&p->tuple.source))
		return false;
	f->to.source = key.address;
	f->to.source_port = key.port;
	backend = target_of(&p->tuple);
	if (!find_frontend(&key, &front, OWN | PEER) || !(front.flags & DIRECT) || !is_member(front.list, &backend))
		return false;
	f->list = front.list;
	return true;
}

static __noinline bool leaves_by_uplink(struct __sk_buff *skb, const struct tuple *t, bool ipv6)
{
	struct route route;

	if (!skb || !t)
		return false;
	return !route_to(skb, t, ipv6, 0, &route) && by_uplink(&route);
}

// accept notes whom a SYN to an endpoint of this node is really for.
static __noinline void accept(struct __sk_buff *skb, const struct packet *p)
{
	struct tuple back;
	struct flow f = {};

	if (!skb || !p)
		return;
	back = reversed(&p->tuple);
	f.to = back;
	f.used = bpf_ktime_get_coarse_ns();
	f.kind = TO_DIRECT;
	// Only what leaves by an uplink gets the frontend's address.
	if (believe(skb, p, &f) && leaves_by_uplink(skb, &back, p->ipv6) && take(&back, &f, true))
		count(ACCEPTED_DIRECT);
}

#endif
