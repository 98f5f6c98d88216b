//go:build ignore

// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// Answers queries for addresses of the cluster's names where they come in. What
// it does not answer for certain it passes on as it is: user space serves it.

#include "answer.h"

static __always_inline void count_size(__u64 *buckets, __u32 size)
{
	buckets[1 + (size > 100) + (size > 200) + (size > 300) + (size > 400)]++;
}

static __always_inline int pass(enum reason why)
{
	__u32 zero = 0;
	struct counters *c = bpf_map_lookup_elem(&counts, &zero);

	if (c)
		c->passed[why]++;
	return TC_ACT_UNSPEC;
}

static __always_inline void count(const struct query *q, const struct answer *a)
{
	__u32 zero = 0, sent = q->end + a->size + (q->opt ? OPT_SIZE : 0);
	struct counters *c = bpf_map_lookup_elem(&counts, &zero);

	if (!c)
		return;
	c->requests[q->ipv6 & 1][q->six & 1]++;
	if (a->rcode)
		c->missing++;
	else
		c->answered++;
	count_size(c->received, q->size);
	c->received_bytes += q->size;
	count_size(c->sent, sent);
	c->sent_bytes += sent;
}

// read_entry copies what a name stands for, or returns less than 0 while it is
// being changed, and 0 if there is no such name.
static __always_inline int read_entry(const struct name *key, __u64 digest, struct entry *to)
{
	struct entry *e = bpf_map_lookup_elem(&names, key);
	__u64 last;
	__u32 version;

	if (!e)
		return 0;
	last = e->last;
	version = e->last_version;
	barrier();
	*to = *e;
	barrier();
	if (last != digest || to->first != digest || e->first != digest || e->version != version || to->version != version)
		return -1;
	return 1;
}

// answer makes a packet that is a query its reply, which it tells by TC_ACT_REDIRECT.
static __always_inline int answer(struct __sk_buff *skb)
{
	struct answer a = {};
	struct query q = {};
	struct listen to = {};
	struct name key = {};
	struct entry e;
	__u32 zero = 0, *slot, number, version;
	__u64 digest = 0;
	struct scratch *s;
	struct zone *z;
	int found, below, verdict;

	if (!read_packet(skb, &q, &to))
		return TC_ACT_UNSPEC;
	slot = bpf_map_lookup_elem(&current, &zero);
	if (!slot)
		return TC_ACT_UNSPEC;
	number = *slot;
	z = bpf_map_lookup_elem(&zones, &number);
	if (!z)
		return TC_ACT_UNSPEC;
	version = z->last_version;
	barrier();
	if (!is_here(z, &to))
		return TC_ACT_UNSPEC;
	s = bpf_map_lookup_elem(&scratches, &zero);
	if (!s || !z->enabled)
		return pass(UNREADY);
	if (!read_question(skb, s, &q))
		return pass(UNUSUAL);
	if (!in_domain(s, &q, z))
		return pass(ELSEWHERE);
	below = read_name(s, &q, &key, &digest);
	if (below < 0)
		return pass(ELSEWHERE);
	found = read_entry(&key, digest, &e);
	if (found < 0)
		return pass(UNREADY);
	if (found) {
		if (below || e.kind != ANSWERED || !put_addresses(s, &q, z, &e, &a))
			return pass(OTHER);
	} else {
		a.rcode = RCODE_NXDOMAIN;
		if (!z->negative || !put_negative(s, &q, z, &a))
			return pass(OTHER);
	}
	barrier();
	if (z->version != version || *(volatile __u32 *)slot != number)
		return pass(UNREADY);
	verdict = make_reply(skb, s, &q, z, &a);
	if (verdict == TC_ACT_REDIRECT)
		count(&q, &a);
	return verdict;
}

// dns_answer sends replies by the interface that queries come by.
SEC("tcx/ingress")
int dns_answer(struct __sk_buff *skb)
{
	int verdict = answer(skb);

	return verdict == TC_ACT_REDIRECT ? bpf_redirect(skb->ifindex, 0) : verdict;
}

// dns_answer_peer is for an interface whose other end is in another network
// namespace: replies are received there at once, without a queue between.
SEC("tcx/ingress")
int dns_answer_peer(struct __sk_buff *skb)
{
	int verdict = answer(skb);

	return verdict == TC_ACT_REDIRECT ? bpf_redirect_peer(skb->ifindex, 0) : verdict;
}

char _license[] SEC("license") = "Dual BSD/GPL";
