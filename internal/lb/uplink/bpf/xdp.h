// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// The short cut in the driver: packets of known flows that leave the node again
// are changed and sent before the kernel makes anything of them. All else
// passes, and the programs behind see it as if there were no short cut.

#ifndef FAIRLEAD_XDP_H
#define FAIRLEAD_XDP_H

#include "flows.h"
#include "route.h"

// frame is what the short cut knows of a packet.
struct frame {
	struct packet packet;
	__u16 length; // of the IP packet
};

// fold makes a checksum good by a difference.
static __always_inline __sum16 corrected(__sum16 check, __u32 difference)
{
	__u64 s = (__u64)(__u16)~check + difference;

	s = (s & 0xffff) + (s >> 16 & 0xffff) + (s >> 32);
	s = (s & 0xffff) + (s >> 16);
	s = (s & 0xffff) + (s >> 16);
	return ~s;
}

static __noinline bool read_frame(struct xdp_md *ctx, struct frame *frame)
{
	struct packet *p;
	void *data, *end;
	struct ethhdr *eth;
	void *l4;

	if (!ctx || !frame)
		return false;
	p = &frame->packet;
	data = (void *)(long)ctx->data;
	end = (void *)(long)ctx->data_end;
	eth = data;
	if (data + ETH_HLEN + sizeof(struct iphdr) > end)
		return false;
	if (eth->h_proto == bpf_htons(ETH_P_IP)) {
		struct iphdr *ip = data + ETH_HLEN;

		if (ip->version != 4 || ip->ihl != 5 || ip->frag_off & bpf_htons(IP4_MORE | IP4_OFFSET))
			return false;
		set_ipv4(&p->tuple.source, ip->saddr);
		set_ipv4(&p->tuple.target, ip->daddr);
		p->tuple.protocol = ip->protocol;
		p->ttl = ip->ttl;
		p->l4 = ETH_HLEN + sizeof(*ip);
		frame->length = bpf_ntohs(ip->tot_len);
		l4 = ip + 1;
	} else if (eth->h_proto == bpf_htons(ETH_P_IPV6)) {
		struct ipv6hdr *ip = data + ETH_HLEN;

		if ((void *)(ip + 1) > end || ip->version != 6)
			return false;
		__builtin_memcpy(&p->tuple.source, &ip->saddr, sizeof(struct address));
		__builtin_memcpy(&p->tuple.target, &ip->daddr, sizeof(struct address));
		if (is_ipv4(&p->tuple.source) || is_ipv4(&p->tuple.target))
			return false;
		p->ipv6 = 1;
		p->tuple.protocol = ip->nexthdr;
		p->ttl = ip->hop_limit;
		p->l4 = ETH_HLEN + sizeof(*ip);
		frame->length = sizeof(*ip) + bpf_ntohs(ip->payload_len);
		l4 = ip + 1;
	} else {
		return false;
	}
	if (ETH_HLEN + frame->length > end - data)
		return false;
	if (p->tuple.protocol == IPPROTO_TCP) {
		struct tcphdr *tcp = l4;

		if (l4 + sizeof(*tcp) > end || p->l4 + sizeof(*tcp) > ETH_HLEN + frame->length)
			return false;
		p->flags = ((__u8 *)tcp)[13];
		p->header = (((__u8 *)tcp)[12] >> 4) * 4;
		p->tuple.source_port = tcp->source;
		p->tuple.target_port = tcp->dest;
		return p->header >= sizeof(*tcp) && p->l4 + p->header <= ETH_HLEN + frame->length;
	}
	if (p->tuple.protocol == IPPROTO_UDP) {
		struct udphdr *udp = l4;

		if (l4 + sizeof(*udp) > end || p->l4 + sizeof(*udp) > ETH_HLEN + frame->length)
			return false;
		p->tuple.source_port = udp->source;
		p->tuple.target_port = udp->dest;
		return true;
	}
	return false;
}

static __always_inline void change_ports(void *l4, void *end, __u8 protocol, const struct tuple *to, __u32 difference)
{
	struct ports *ports = l4;
	struct ports old, new = { to->source_port, to->target_port };
	__sum16 *check;

	if (l4 + sizeof(struct udphdr) > end)
		return;
	old = *ports;
	difference = bpf_csum_diff((__be32 *)&old, sizeof(old), (__be32 *)&new, sizeof(new), difference);
	*ports = new;
	if (protocol == IPPROTO_TCP) {
		check = l4 + offsetof(struct tcphdr, check);
		if ((void *)(check + 1) <= end)
			*check = corrected(*check, difference);
		return;
	}
	check = l4 + offsetof(struct udphdr, check);
	if (*check) {
		*check = corrected(*check, difference);
		if (!*check)
			*check = 0xffff;
	}
}

// change makes a frame be the packet that a flow's packets become.
static __noinline bool change(struct xdp_md *ctx, const struct tuple *to, bool ipv6)
{
	void *data, *end;
	__u32 difference;

	if (!ctx || !to)
		return false;
	data = (void *)(long)ctx->data;
	end = (void *)(long)ctx->data_end;
	if (ipv6) {
		struct ipv6hdr *ip = data + ETH_HLEN;
		struct address old[2];

		if ((void *)(ip + 1) > end)
			return false;
		__builtin_memcpy(old, &ip->saddr, sizeof(old));
		difference = bpf_csum_diff((__be32 *)old, 32, (__be32 *)to, 32, 0);
		__builtin_memcpy(&ip->saddr, to, 32);
		ip->hop_limit--;
		change_ports(ip + 1, end, to->protocol, to, difference);
	} else {
		struct iphdr *ip = data + ETH_HLEN;
		__be32 new[2], old[2];

		if ((void *)(ip + 1) > end)
			return false;
		old[0] = ip->saddr;
		old[1] = ip->daddr;
		new[0] = to->source.word[3];
		new[1] = to->target.word[3];
		difference = bpf_csum_diff(old, sizeof(old), new, sizeof(new), 0);
		ip->saddr = new[0];
		ip->daddr = new[1];
		ip->ttl--;
		// The TTL is the high byte of its word: one less there.
		ip->check = corrected(ip->check, difference);
		ip->check = corrected(ip->check, (__u16)~bpf_htons(0x0100));
		change_ports(ip + 1, end, to->protocol, to, difference);
	}
	return true;
}

// send gives a packet to the next machine, if that is known and can be done from
// here.
static __noinline int send(struct xdp_md *ctx, const struct frame *frame, const struct flow *f)
{
	const struct packet *p;
	struct bpf_fib_lookup fib = {};
	struct uplink *uplink;
	struct ethhdr *eth;
	struct tuple to;
	void *data, *end;
	__u32 out;

	if (!ctx || !frame || !f)
		return XDP_PASS;
	p = &frame->packet;
	to = f->to;
	fib.l4_protocol = to.protocol;
	fib.sport = to.source_port;
	fib.dport = to.target_port;
	fib.tot_len = frame->length;
	fib.ifindex = ctx->ingress_ifindex;
	if (p->ipv6) {
		fib.family = AF_INET6;
		__builtin_memcpy(fib.ipv6_src, &to.source, sizeof(struct address));
		__builtin_memcpy(fib.ipv6_dst, &to.target, sizeof(struct address));
	} else {
		fib.family = AF_INET;
		fib.ipv4_src = to.source.word[3];
		fib.ipv4_dst = to.target.word[3];
	}
	if (bpf_fib_lookup(ctx, &fib, sizeof(fib), 0))
		return XDP_PASS;
	out = fib.ifindex;
	uplink = bpf_map_lookup_elem(&uplinks, &out);
	if (!uplink || (out != ctx->ingress_ifindex && !uplink->transmits))
		return XDP_PASS;
	if (!change(ctx, &to, p->ipv6))
		return XDP_PASS;
	data = (void *)(long)ctx->data;
	end = (void *)(long)ctx->data_end;
	eth = data;
	if ((void *)(eth + 1) > end)
		return XDP_DROP;
	__builtin_memcpy(eth->h_dest, fib.dmac, ETH_ALEN);
	__builtin_memcpy(eth->h_source, fib.smac, ETH_ALEN);
	return out == ctx->ingress_ifindex ? XDP_TX : bpf_redirect(out, 0);
}

// is_ours tells whether a frame is for the card that it came to.
static __always_inline bool is_ours(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	__u32 in = ctx->ingress_ifindex;
	struct uplink *uplink = bpf_map_lookup_elem(&uplinks, &in);
	struct ethhdr *eth = data;

	if (!uplink || (void *)(eth + 1) > end)
		return false;
	for (int i = 0; i < ETH_ALEN; i++)
		if (eth->h_dest[i] != uplink->card[i])
			return false;
	return true;
}

#endif
