// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// Which packets are queries to this server. What is not plainly UDP in IPv4
// without options or IPv6 without extension headers is none, nor is a fragment,
// nor what has lengths that do not fit each other.

#ifndef FAIRLEAD_DNS_PACKET_H
#define FAIRLEAD_DNS_PACKET_H

#include "maps.h"

#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/pkt_cls.h>
#include <linux/udp.h>

#define IP4_MORE 0x2000
#define IP4_OFFSET 0x1fff
#define IP4_WHOLE 0x4000 // do not fragment

// query is what is known of a packet.
struct query {
	__u32 udp;    // offset of the UDP header
	__u32 size;   // of the message
	__u32 end;    // where its question ends
	__u32 domain; // where the cluster domain begins
	__u8 ipv6;
	__u8 opt;
	__u8 six;    // type AAAA
	__u8 exact;  // the domain is in lower case
};

static __always_inline __u16 folded(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (sum & 0xffff) + (sum >> 16);
}

static __always_inline bool read4(struct __sk_buff *skb, struct query *q, struct listen *to, struct udphdr *udp)
{
	struct iphdr ip;
	__u32 from;

	q->udp = ETH_HLEN + sizeof(ip);
	if (bpf_skb_load_bytes(skb, ETH_HLEN, &ip, sizeof(ip)) || ip.version != 4 || ip.ihl != 5 || ip.protocol != IPPROTO_UDP)
		return false;
	if (ip.frag_off & bpf_htons(IP4_MORE | IP4_OFFSET) || skb->len != ETH_HLEN + (__u32)bpf_ntohs(ip.tot_len))
		return false;
	// Nobody has such an address to be answered at: this network, this machine, groups.
	from = bpf_ntohl(ip.saddr) >> 24;
	if (from == 0 || from == 127 || from >= 224 || (bpf_ntohl(ip.daddr) >> 24) == 127)
		return false;
	if (bpf_skb_load_bytes(skb, q->udp, udp, sizeof(*udp)))
		return false;
	to->address[2] = bpf_htonl(0xffff);
	to->address[3] = ip.daddr;
	to->port = udp->dest;
	return bpf_map_lookup_elem(&listens, to) && folded(bpf_csum_diff(0, 0, (__be32 *)&ip, sizeof(ip), 0)) == 0xffff;
}

static __always_inline bool read6(struct __sk_buff *skb, struct query *q, struct listen *to, struct udphdr *udp)
{
	struct ipv6hdr ip;

	q->ipv6 = true;
	q->udp = ETH_HLEN + sizeof(ip);
	if (bpf_skb_load_bytes(skb, ETH_HLEN, &ip, sizeof(ip)) || ip.version != 6 || ip.nexthdr != IPPROTO_UDP)
		return false;
	if (skb->len != ETH_HLEN + sizeof(ip) + bpf_ntohs(ip.payload_len))
		return false;
	// Unspecified, loopback, IPv4 in IPv6; groups.
	if (!(ip.saddr.s6_addr32[0] | ip.saddr.s6_addr32[1]) || ip.saddr.s6_addr[0] == 0xff || !(ip.daddr.s6_addr32[0] | ip.daddr.s6_addr32[1]))
		return false;
	if (bpf_skb_load_bytes(skb, q->udp, udp, sizeof(*udp)) || !udp->check)
		return false;
	__builtin_memcpy(to->address, &ip.daddr, sizeof(to->address));
	to->port = udp->dest;
	return bpf_map_lookup_elem(&listens, to);
}

// read_packet tells whether a packet is for this server, and where what is.
static __always_inline bool read_packet(struct __sk_buff *skb, struct query *q)
{
	struct listen to = {};
	struct udphdr udp;
	bool ok = false;

	// What a card or the kernel has merged is more than one packet.
	if (skb->vlan_present || skb->gso_size || skb->pkt_type != PACKET_HOST)
		return false;
	if (skb->protocol == bpf_htons(ETH_P_IP))
		ok = read4(skb, q, &to, &udp);
	else if (skb->protocol == bpf_htons(ETH_P_IPV6))
		ok = read6(skb, q, &to, &udp);
	if (!ok || !udp.source || q->udp + bpf_ntohs(udp.len) != skb->len)
		return false;
	q->size = bpf_ntohs(udp.len) - sizeof(udp);
	return true;
}

#endif
