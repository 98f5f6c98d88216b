// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// What a packet is. Whatever is not plainly TCP, UDP or an ICMP error is
// nobody's business here: options, extension headers, lengths that do not fit.

#ifndef FAIRLEAD_PACKET_H
#define FAIRLEAD_PACKET_H

#include "maps.h"

#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/pkt_cls.h>
#include <linux/tcp.h>
#include <linux/udp.h>

#define FIN 0x01
#define SYN 0x02
#define RST 0x04
#define ACK 0x10

#define IP4_MORE 0x2000
#define IP4_OFFSET 0x1fff
#define IP6_MORE 0x0001
#define IP6_OFFSET 0xfff8
#define FRAGMENT_HEADER 44

// Types of ICMP errors (RFC 792) and ICMPv6 errors (RFC 4443).
#define UNREACHABLE4 3
#define TIME_EXCEEDED4 11
#define PARAMETER4 12
#define FIRST_INFORMATION6 128

enum what {
	OTHER = 0,
	FLOW = 1,       // has ports, or is a fragment of what has
	ICMP_ERROR = 2, // the packet that it is about follows at l4 + 8
};

struct packet {
	struct tuple tuple;
	__u16 l4;     // offset of the transport header, or of a later fragment's data
	__u16 end;    // offset of the end of the IP packet
	__u8 ttl;
	__u8 flags;   // of TCP
	__u8 header;  // length of the TCP header
	__u8 ipv6;
	__u8 later;   // a fragment without ports
};

struct fragment_header {
	__u8 next;
	__u8 reserved;
	__be16 offset;
	__be32 id;
};

// fragment finds the ports of a later fragment in what the first one had.
static __always_inline enum what later_fragment(struct packet *p, __be32 id)
{
	struct datagram key = { .source = p->tuple.source, .target = p->tuple.target, .id = id,
				.protocol = p->tuple.protocol };
	struct ports *first = bpf_map_lookup_elem(&fragments, &key);

	if (!first)
		return OTHER;
	p->tuple.source_port = first->source;
	p->tuple.target_port = first->target;
	p->later = 1;
	return FLOW;
}

static __always_inline void first_fragment(const struct packet *p, __be32 id)
{
	struct datagram key = { .source = p->tuple.source, .target = p->tuple.target, .id = id,
				.protocol = p->tuple.protocol };
	struct ports value = { .source = p->tuple.source_port, .target = p->tuple.target_port };

	bpf_map_update_elem(&fragments, &key, &value, BPF_ANY);
}

// fits tells whether the IP packet is as long as it says. Segments that were
// merged may be longer than a header can say.
static __always_inline bool fits(struct __sk_buff *skb, const struct packet *p, __u16 needs)
{
	return skb->gso_size || (p->end <= skb->len && p->l4 + needs <= p->end);
}

static __always_inline enum what transport(struct __sk_buff *skb, struct packet *p)
{
	struct tcphdr tcp;
	struct udphdr udp;
	__u8 bits[2];

	switch (p->tuple.protocol) {
	case IPPROTO_TCP:
		if (!fits(skb, p, sizeof(tcp)) || bpf_skb_load_bytes(skb, p->l4, &tcp, sizeof(tcp)))
			return OTHER;
		__builtin_memcpy(bits, (__u8 *)&tcp + 12, 2);
		p->header = (bits[0] >> 4) * 4;
		p->flags = bits[1];
		if (p->header < sizeof(tcp) || !fits(skb, p, p->header))
			return OTHER;
		p->tuple.source_port = tcp.source;
		p->tuple.target_port = tcp.dest;
		return FLOW;
	case IPPROTO_UDP:
		if (!fits(skb, p, sizeof(udp)) || bpf_skb_load_bytes(skb, p->l4, &udp, sizeof(udp)))
			return OTHER;
		p->tuple.source_port = udp.source;
		p->tuple.target_port = udp.dest;
		return FLOW;
	}
	return OTHER;
}

static __always_inline bool is_error(__u8 type, bool ipv6)
{
	if (ipv6)
		return type < FIRST_INFORMATION6;
	return type == UNREACHABLE4 || type == TIME_EXCEEDED4 || type == PARAMETER4;
}

static __always_inline enum what error(struct __sk_buff *skb, struct packet *p)
{
	__u8 type;

	if (!fits(skb, p, 8) || bpf_skb_load_bytes(skb, p->l4, &type, 1))
		return OTHER;
	return is_error(type, p->ipv6) ? ICMP_ERROR : OTHER;
}

static __always_inline enum what parse4(struct __sk_buff *skb, struct packet *p)
{
	enum what what;
	struct iphdr ip;
	__u16 fragment;

	if (bpf_skb_load_bytes(skb, ETH_HLEN, &ip, sizeof(ip)) || ip.version != 4 || ip.ihl != 5)
		return OTHER;
	set_ipv4(&p->tuple.source, ip.saddr);
	set_ipv4(&p->tuple.target, ip.daddr);
	p->tuple.protocol = ip.protocol;
	p->ttl = ip.ttl;
	p->l4 = ETH_HLEN + sizeof(ip);
	p->end = ETH_HLEN + bpf_ntohs(ip.tot_len);
	fragment = bpf_ntohs(ip.frag_off) & (IP4_MORE | IP4_OFFSET);
	if (fragment & IP4_OFFSET)
		return fits(skb, p, 1) ? later_fragment(p, ip.id) : OTHER;
	if (ip.protocol == IPPROTO_ICMP)
		return fragment ? OTHER : error(skb, p);
	what = transport(skb, p);
	if (fragment && what == FLOW)
		first_fragment(p, ip.id);
	return what;
}

static __always_inline enum what parse6(struct __sk_buff *skb, struct packet *p)
{
	struct fragment_header fragment;
	struct ipv6hdr ip;
	enum what what;

	if (bpf_skb_load_bytes(skb, ETH_HLEN, &ip, sizeof(ip)) || ip.version != 6)
		return OTHER;
	__builtin_memcpy(&p->tuple.source, &ip.saddr, sizeof(struct address));
	__builtin_memcpy(&p->tuple.target, &ip.daddr, sizeof(struct address));
	// An IPv4 address in IPv6 must not be taken for the IPv4 one.
	if (is_ipv4(&p->tuple.source) || is_ipv4(&p->tuple.target))
		return OTHER;
	p->ipv6 = 1;
	p->tuple.protocol = ip.nexthdr;
	p->ttl = ip.hop_limit;
	p->l4 = ETH_HLEN + sizeof(ip);
	p->end = ETH_HLEN + sizeof(ip) + bpf_ntohs(ip.payload_len);
	if (ip.nexthdr == IPPROTO_ICMPV6)
		return error(skb, p);
	if (ip.nexthdr != FRAGMENT_HEADER)
		return transport(skb, p);
	if (!fits(skb, p, sizeof(fragment)) || bpf_skb_load_bytes(skb, p->l4, &fragment, sizeof(fragment)))
		return OTHER;
	p->l4 += sizeof(fragment);
	p->tuple.protocol = fragment.next;
	if (fragment.offset & bpf_htons(IP6_OFFSET))
		return fits(skb, p, 1) ? later_fragment(p, fragment.id) : OTHER;
	what = transport(skb, p);
	if (what == FLOW && fragment.offset & bpf_htons(IP6_MORE))
		first_fragment(p, fragment.id);
	return what;
}

static __noinline enum what parse(struct __sk_buff *skb, struct packet *p)
{
	if (!skb || !p)
		return OTHER;
	// A VLAN's packet belongs to another interface.
	if (skb->vlan_present)
		return OTHER;
	if (skb->protocol == bpf_htons(ETH_P_IP))
		return parse4(skb, p);
	if (skb->protocol == bpf_htons(ETH_P_IPV6))
		return parse6(skb, p);
	return OTHER;
}

#endif
