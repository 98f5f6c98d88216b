// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// What comes behind the question of a reply, and the reply itself, which is made
// of the packet of the query.

#ifndef FAIRLEAD_DNS_ANSWER_H
#define FAIRLEAD_DNS_ANSWER_H

#include "name.h"

#define RCODE_NXDOMAIN 3
#define POINTER 0xc000
// Flags of a message (RFC 1035, section 4.1.1; RFC 4035, section 3).
#define QR 0x8000
#define AA 0x0400
#define RD 0x0100
#define RA 0x0080
#define CD 0x0010
// Where pointers to the domain are in the SOA record.
#define SOA_OWNER 0
#define SOA_SERVER 19
#define SOA_MAILBOX 32

#define HOP_LIMIT 64

// answer is what a reply says.
struct answer {
	__u32 size; // of the tail
	__u16 answers;
	__u16 authorities;
	__u16 rcode;
};

// record is an A or AAAA record of the question's name without its address.
struct record {
	__be16 owner;
	__be16 type;
	__be16 class;
	__be16 ttl[2];
	__be16 size;
};

static __always_inline void put_record(struct scratch *s, __u32 at, const struct zone *z, bool six)
{
	struct record r = {
		.owner = bpf_htons(POINTER | HEADER_SIZE),
		.type = bpf_htons(six ? TYPE_AAAA : TYPE_A),
		.class = bpf_htons(CLASS_IN),
		.size = bpf_htons(six ? 16 : 4),
	};

	__builtin_memcpy(r.ttl, &z->ttl, sizeof(r.ttl));
	__builtin_memcpy(s->tail + at, &r, sizeof(r));
}

#define RECORD4 (sizeof(struct record) + 4)
#define RECORD6 (sizeof(struct record) + 16)

// put_list writes the records of several addresses, beginning with any of them.
SEPARATE int put_list(struct scratch *s, const struct query *q, const struct zone *z, const struct entry *e, struct answer *a)
{
	__u32 count, turn;
	struct list *l;
	__u64 number;

	if (!s || !q || !z || !e || !a)
		return false;
	count = q->six ? e->count6 : e->count4;
	number = e->list;
	l = bpf_map_lookup_elem(&lists, &number);
	if (!l || l->last != number || !count || count > (q->six ? LIST6 : LIST4))
		return false;
	turn = bpf_get_prandom_u32() % count;
	for (__u32 i = 0; i < LIST4 && i < count; i++) {
		if (q->six) {
			if (i >= LIST6)
				break;
			put_record(s, i * RECORD6, z, true);
			__builtin_memcpy(s->tail + i * RECORD6 + sizeof(struct record), l->address6[turn & (LIST6 - 1)], 16);
		} else {
			put_record(s, i * RECORD4, z, false);
			__builtin_memcpy(s->tail + i * RECORD4 + sizeof(struct record), &l->address4[turn & (LIST4 - 1)], 4);
		}
		if (++turn == count)
			turn = 0;
	}
	barrier();
	if (l->first != number)
		return false;
	a->answers = count;
	a->size = count * (q->six ? RECORD6 : RECORD4);
	return true;
}

static __always_inline void put_pointer(struct scratch *s, __u32 at, __u32 to)
{
	s->tail[at] = (POINTER | to) >> 8;
	s->tail[at + 1] = to;
}

// put_negative writes the SOA record. Its names lean on the domain in the question,
// which they can only if its case is that of the domain.
static __always_inline bool put_negative(struct scratch *s, const struct query *q, const struct zone *z, struct answer *a)
{
	if (!q->exact)
		return false;
	__builtin_memcpy(s->tail, z->soa, SOA_SIZE);
	put_pointer(s, SOA_OWNER, q->domain);
	put_pointer(s, SOA_SERVER, q->domain);
	put_pointer(s, SOA_MAILBOX, q->domain);
	a->authorities = 1;
	a->size = SOA_SIZE;
	return true;
}

static __always_inline bool put_addresses(struct scratch *s, const struct query *q, const struct zone *z, const struct entry *e, struct answer *a)
{
	__u32 count = q->six ? e->count6 : e->count4;

	if (!count)
		return put_negative(s, q, z, a);
	if (count > 1)
		return put_list(s, q, z, e, a);
	put_record(s, 0, z, q->six);
	if (q->six)
		__builtin_memcpy(s->tail + sizeof(struct record), e->address6, 16);
	else
		__builtin_memcpy(s->tail + sizeof(struct record), &e->address4, 4);
	a->answers = 1;
	a->size = q->six ? RECORD6 : RECORD4;
	return true;
}

// put_opt writes the OPT record that answers one (RFC 6891), and returns the sum of
// what it has different.
static __always_inline __u64 put_opt(struct scratch *s, const struct query *q, const struct zone *z, __u32 at)
{
	__u64 old = word(s, q->end, WORD), new = (__u64)TYPE_OPT << 40 | (__u64)bpf_ntohs(z->max_udp) << 24;
	__be16 rest = bpf_htons(s->message[INSIDE(q->end + WORD)] << 8);

	new = bpf_cpu_to_be64(new) | (old & bpf_cpu_to_be64(0x80)); // DO
	__builtin_memcpy(s->tail + at, &new, sizeof(new));
	__builtin_memset(s->tail + at + sizeof(new), 0, OPT_SIZE - sizeof(new));
	old = ~old;
	return (__u64)(__u32)new + (new >> 32) + (__u32)old + (old >> 32) + (__u16)~rest;
}

// sum_of returns the checksum of bytes whose number is filled up to a multiple of
// four with zeros.
static __always_inline __u32 sum_of(const __u8 *bytes, __u32 size)
{
	return bpf_csum_diff(0, 0, (__be32 *)bytes, (size + 3) & ~3u, 0);
}

static __always_inline __u32 added(__u32 sum, __be16 new, __be16 old)
{
	return sum + new + (__u16)~old;
}

// swap_addresses turns the Ethernet and IP headers around, as a new packet.
static __always_inline bool swap_addresses(struct __sk_buff *skb, const struct query *q, __u16 size)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	struct ethhdr *eth = data;
	__u8 mac[ETH_ALEN];

	if (data + ETH_HLEN + sizeof(struct ipv6hdr) > end)
		return false;
	__builtin_memcpy(mac, eth->h_dest, ETH_ALEN);
	__builtin_memcpy(eth->h_dest, eth->h_source, ETH_ALEN);
	__builtin_memcpy(eth->h_source, mac, ETH_ALEN);
	if (q->ipv6) {
		struct ipv6hdr *ip = data + ETH_HLEN;
		struct in6_addr from = ip->saddr;

		ip->saddr = ip->daddr;
		ip->daddr = from;
		ip->priority = 0;
		__builtin_memset(ip->flow_lbl, 0, sizeof(ip->flow_lbl));
		ip->payload_len = bpf_htons(size);
		ip->hop_limit = HOP_LIMIT;
	} else {
		struct iphdr *ip = data + ETH_HLEN;
		__be32 from = ip->saddr, to = ip->daddr;
		__be16 total = bpf_htons(sizeof(*ip) + size);

		ip->saddr = to;
		ip->daddr = from;
		ip->tos = 0;
		ip->tot_len = total;
		ip->id = 0; // nobody may make fragments of it (RFC 6864)
		ip->frag_off = bpf_htons(IP4_WHOLE);
		ip->ttl = HOP_LIMIT;
		// Of all words but those that are zero.
		ip->check = ~folded((__u64)from + to + total + bpf_htons(IP4_PLAIN) + bpf_htons(IP4_WHOLE) + bpf_htons(HOP_LIMIT << 8 | IPPROTO_UDP));
	}
	return true;
}

// change_message writes what the reply's UDP and DNS headers have different, and
// returns the sum of the differences.
static __always_inline int change_message(struct __sk_buff *skb, const struct query *q, const struct zone *z, const struct answer *a, __u16 size, __u32 *sum)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	struct udphdr *udp = data + (q->ipv6 ? ETH_HLEN + sizeof(struct ipv6hdr) : ETH_HLEN + sizeof(struct iphdr));
	__be16 *dns = (void *)(udp + 1), port, flags, answers, authorities;

	if ((void *)dns + HEADER_SIZE > end)
		return -1;
	port = udp->source;
	udp->source = udp->dest;
	udp->dest = port;
	flags = (dns[1] & bpf_htons(RD | CD)) | bpf_htons(QR | AA | a->rcode | (z->recursive ? RA : 0));
	answers = bpf_htons(a->answers);
	authorities = bpf_htons(a->authorities);
	*sum = added(*sum, flags, dns[1]);
	*sum = added(*sum, answers, dns[3]);
	*sum = added(*sum, authorities, dns[4]);
	*sum = added(*sum, bpf_htons(size), udp->len);
	dns[1] = flags;
	dns[3] = answers;
	dns[4] = authorities;
	udp->len = bpf_htons(size);
	return 0;
}

// make_reply makes the packet of the query the reply, and returns TC_ACT_REDIRECT.
// Until the packet has its new size, nothing has been changed, and it can pass.
//
// The checksum of UDP is corrected by what differs. So a query that was damaged
// on its way, which nobody has looked for here, has a reply that is damaged, too.
SEPARATE int make_reply(struct __sk_buff *skb, struct scratch *s, const struct query *q, const struct zone *z, const struct answer *a)
{
	__u32 end, records, tail, size, sum, check;
	__u64 difference;

	if (!skb || !s || !q || !z || !a)
		return TC_ACT_UNSPEC;
	records = a->size;
	barrier_var(records); // what the verifier knows of it is of one register
	if (!records || records > TAIL_SIZE - OPT_SIZE - 4)
		return TC_ACT_UNSPEC;
	end = q->end;
	tail = records + (q->opt ? OPT_SIZE : 0);
	size = sizeof(struct udphdr) + end + tail;
	check = q->udp + offsetof(struct udphdr, check);
	__builtin_memset(s->tail + records, 0, sizeof(__u32));
	difference = sum_of(s->tail, records);
	if (q->opt)
		difference += put_opt(s, q, z, records);
	if (bpf_skb_change_tail(skb, q->udp + size, 0))
		return TC_ACT_UNSPEC;
	if (bpf_skb_store_bytes(skb, q->udp + sizeof(struct udphdr) + end, s->tail, tail, 0))
		return TC_ACT_SHOT;
	// A sum of bytes that begin in the middle of a word of two has these swapped.
	sum = folded(difference);
	if (end & 1)
		sum = (__u16)(sum << 8 | sum >> 8);
	if (!swap_addresses(skb, q, size) || change_message(skb, q, z, a, size, &sum))
		return TC_ACT_SHOT;
	// Of a packet that is to be summed later, its field holds the sum of the pseudo
	// header, and only the second call changes it.
	if (bpf_l4_csum_replace(skb, check, 0, sum, BPF_F_MARK_MANGLED_0) ||
	    bpf_l4_csum_replace(skb, check, bpf_htons(sizeof(struct udphdr) + q->size), bpf_htons(size), BPF_F_PSEUDO_HDR | BPF_F_MARK_MANGLED_0 | 2))
		return TC_ACT_SHOT;
	return TC_ACT_REDIRECT;
}

#endif
