// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// Changing packets. Checksums are corrected by differences, so that a packet
// that was damaged on its way stays recognisable as damaged.
//
// The kernel may keep a sum over the whole packet (CHECKSUM_COMPLETE). What is
// changed in an IPv4 header is made good by that header's own checksum; an IPv6
// header has none, so it is stored with BPF_F_RECOMPUTE_CSUM. Of the transport
// header's changes only those for the pseudo header (BPF_F_PSEUDO_HDR) show.

#ifndef FAIRLEAD_REWRITE_H
#define FAIRLEAD_REWRITE_H

#include "packet.h"

static __always_inline __u32 checksum_offset(const struct packet *p)
{
	return p->l4 + (p->tuple.protocol == IPPROTO_TCP ? offsetof(struct tcphdr, check)
							 : offsetof(struct udphdr, check));
}

static __always_inline __u64 checksum_flags(const struct packet *p)
{
	return p->tuple.protocol == IPPROTO_UDP ? BPF_F_MARK_MANGLED_0 : 0;
}

// set_addresses replaces the IP addresses. The difference is for checksums that
// cover a pseudo header.
static __always_inline int set_addresses(struct __sk_buff *skb, const struct packet *p, const struct tuple *to,
					 __s64 *difference)
{
	if (p->ipv6) {
		*difference = bpf_csum_diff((__be32 *)&p->tuple, 32, (__be32 *)to, 32, 0);
		return bpf_skb_store_bytes(skb, ETH_HLEN + offsetof(struct ipv6hdr, saddr), to, 32, BPF_F_RECOMPUTE_CSUM);
	} else {
		__be32 old[2] = { p->tuple.source.word[3], p->tuple.target.word[3] };
		__be32 new[2] = { to->source.word[3], to->target.word[3] };

		*difference = bpf_csum_diff(old, sizeof(old), new, sizeof(new), 0);
		if (bpf_l3_csum_replace(skb, ETH_HLEN + offsetof(struct iphdr, check), 0, *difference, 0))
			return -1;
		return bpf_skb_store_bytes(skb, ETH_HLEN + offsetof(struct iphdr, saddr), new, sizeof(new), 0);
	}
}

// rewrite replaces addresses and ports; what fails leaves a packet to drop.
static __always_inline int rewrite(struct __sk_buff *skb, const struct packet *p, const struct tuple *to)
{
	struct ports old = { p->tuple.source_port, p->tuple.target_port };
	struct ports new = { to->source_port, to->target_port };
	__u32 checksum = checksum_offset(p);
	__u64 flags = checksum_flags(p);
	__s64 difference;

	if (set_addresses(skb, p, to, &difference))
		return -1;
	if (p->later)
		return 0;
	if (bpf_l4_csum_replace(skb, checksum, 0, difference, flags | BPF_F_PSEUDO_HDR))
		return -1;
	difference = bpf_csum_diff((__be32 *)&old, sizeof(old), (__be32 *)&new, sizeof(new), 0);
	if (bpf_l4_csum_replace(skb, checksum, 0, difference, flags))
		return -1;
	return bpf_skb_store_bytes(skb, p->l4, &new, sizeof(new), 0);
}

// decrement takes a router's toll from the TTL or hop limit.
static __always_inline int decrement(struct __sk_buff *skb, const struct packet *p)
{
	__u8 ttl = p->ttl - 1;

	if (p->ipv6)
		return bpf_skb_store_bytes(skb, ETH_HLEN + offsetof(struct ipv6hdr, hop_limit), &ttl, 1, BPF_F_RECOMPUTE_CSUM);
	if (bpf_l3_csum_replace(skb, ETH_HLEN + offsetof(struct iphdr, check), bpf_htons((__u16)p->ttl << 8),
				bpf_htons((__u16)ttl << 8), 2))
		return -1;
	return bpf_skb_store_bytes(skb, ETH_HLEN + offsetof(struct iphdr, ttl), &ttl, 1, 0);
}

#endif
