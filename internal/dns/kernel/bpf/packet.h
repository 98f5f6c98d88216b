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

#define IP4_PLAIN 0x4500 // the first word of a header without options
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

// sum_of_ip returns what is 0xffff for a header of IPv4 that is right (RFC 1071).
static __always_inline __u16 sum_of_ip(const struct iphdr *ip)
{
	const __u32 *word = (const __u32 *)ip;

	return folded((__u64)word[0] + word[1] + word[2] + word[3] + word[4]);
}

// read4 and read6 return the UDP header of a packet whose headers are all there, and
// where it is going, or 0.
static __always_inline const struct udphdr *read4(const void *data, __u32 length, struct query *q, struct listen *to)
{
	const struct iphdr *ip = data + ETH_HLEN;
	__u32 from;

	q->udp = ETH_HLEN + sizeof(*ip);
	if (ip->version != 4 || ip->ihl != 5 || ip->protocol != IPPROTO_UDP)
		return 0;
	if (ip->frag_off & bpf_htons(IP4_MORE | IP4_OFFSET) || length != ETH_HLEN + (__u32)bpf_ntohs(ip->tot_len))
		return 0;
	// Nobody has such an address to be answered at: this network, this machine, groups.
	from = bpf_ntohl(ip->saddr) >> 24;
	if (from == 0 || from == 127 || from >= 224 || (bpf_ntohl(ip->daddr) >> 24) == 127)
		return 0;
	if (sum_of_ip(ip) != 0xffff)
		return 0;
	to->address[2] = bpf_htonl(0xffff);
	to->address[3] = ip->daddr;
	return (const void *)(ip + 1);
}

static __always_inline const struct udphdr *read6(const void *data, __u32 length, struct query *q, struct listen *to)
{
	const struct ipv6hdr *ip = data + ETH_HLEN;
	const struct udphdr *udp = (const void *)(ip + 1);

	q->ipv6 = true;
	q->udp = ETH_HLEN + sizeof(*ip);
	if (ip->version != 6 || ip->nexthdr != IPPROTO_UDP || length != ETH_HLEN + sizeof(*ip) + bpf_ntohs(ip->payload_len))
		return 0;
	// Unspecified, loopback, IPv4 in IPv6; groups.
	if (!(ip->saddr.s6_addr32[0] | ip->saddr.s6_addr32[1]) || ip->saddr.s6_addr[0] == 0xff || !(ip->daddr.s6_addr32[0] | ip->daddr.s6_addr32[1]))
		return 0;
	__builtin_memcpy(to->address, &ip->daddr, sizeof(to->address));
	return udp->check ? udp : 0;
}

// headers returns the packet if its first bytes are in one piece of memory, or 0.
static __always_inline const void *headers(struct __sk_buff *skb, __u32 size)
{
	if ((void *)(long)skb->data + size > (void *)(long)skb->data_end && bpf_skb_pull_data(skb, size))
		return 0;
	if ((void *)(long)skb->data + size > (void *)(long)skb->data_end)
		return 0;
	return (void *)(long)skb->data;
}

// read_packet tells whether a packet can be a query, where it is going, and where
// what is.
static __always_inline bool read_packet(struct __sk_buff *skb, struct query *q, struct listen *to)
{
	const struct udphdr *udp = 0;
	const void *data;

	// What a card or the kernel has merged is more than one packet.
	if (skb->vlan_present || skb->gso_size || skb->pkt_type != PACKET_HOST)
		return false;
	if (skb->protocol == bpf_htons(ETH_P_IP)) {
		data = headers(skb, ETH_HLEN + sizeof(struct iphdr) + sizeof(*udp));
		if (data)
			udp = read4(data, skb->len, q, to);
	} else if (skb->protocol == bpf_htons(ETH_P_IPV6)) {
		data = headers(skb, ETH_HLEN + sizeof(struct ipv6hdr) + sizeof(*udp));
		if (data)
			udp = read6(data, skb->len, q, to);
	}
	if (!udp || !udp->source || q->udp + bpf_ntohs(udp->len) != skb->len)
		return false;
	q->size = bpf_ntohs(udp->len) - sizeof(*udp);
	to->port = udp->dest;
	return true;
}

static __always_inline bool same(const struct listen *a, const struct listen *b)
{
	return a->address[3] == b->address[3] && a->port == b->port && a->address[2] == b->address[2] && a->address[1] == b->address[1] && a->address[0] == b->address[0];
}

// is_here tells whether queries to an address are answered. A pod has few addresses,
// which are sooner compared than looked up; nothing goes to that of zeros.
static __always_inline bool is_here(const struct zone *z, const struct listen *to)
{
	for (int i = 0; i < HERE; i++)
		if (same(&z->here[i], to))
			return true;
	return z->elsewhere && bpf_map_lookup_elem(&listens, to);
}

#endif
