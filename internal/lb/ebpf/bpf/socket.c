//go:build ignore

// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// Socket load balancing: Services are resolved when a socket connects or sends
// its first datagram, and packets carry the backend's address from the start.
//
//   connect4, connect6          TCP and connected UDP: destination -> backend
//   sendmsg4, sendmsg6          unconnected UDP: the same for one datagram
//   recvmsg4, recvmsg6          UDP: source of a datagram -> Service
//   getpeername4, getpeername6  peer of a connection -> Service
//   post_bind4, post_bind6      a NodePort is nobody else's on the node
//   release                     iterates over UDP sockets; ends those whose backend is gone
//   ask                         attached nowhere; answers decide() for a tuple
//
// The programs read the maps frontends, backends and members (maps.h), which
// the node process writes in this order: a whole new list, then the frontend
// that names it, then the deletion of the old list. decide() (decide.h) is
// written against that order: it never mixes two lists. What a socket was told
// is kept in the socket's own storage (reverse.h).
//
// An IPv6 socket that uses ::ffff:a.b.c.d passes the *6 hooks to connect and
// the *4 hooks to send; both make the same key of it.

#include "release.h"
#include "reverse.h"

#include <linux/errno.h>

#define ALLOW 1
#define DENY 0

// can_set_errno is decided when the programs are loaded: bpf_set_retval exists
// in these hooks only from Linux 6.1 on. Without it a refusal is EPERM.
const volatile bool can_set_errno = false;

// host_netns is the cookie of the node's own network namespace.
const volatile __u64 host_netns = 0;

static __always_inline void read4(struct bpf_sock_addr *ctx, struct endpoint *e)
{
	e->address[2] = bpf_htonl(0xffff);
	e->address[3] = ctx->user_ip4;
	e->port = ctx->user_port;
	e->protocol = ctx->protocol;
}

static __always_inline void write4(struct bpf_sock_addr *ctx, const struct endpoint *e)
{
	ctx->user_ip4 = e->address[3];
	ctx->user_port = e->port;
}

static __always_inline void read6(struct bpf_sock_addr *ctx, struct endpoint *e)
{
	e->address[0] = ctx->user_ip6[0];
	e->address[1] = ctx->user_ip6[1];
	e->address[2] = ctx->user_ip6[2];
	e->address[3] = ctx->user_ip6[3];
	e->port = ctx->user_port;
	e->protocol = ctx->protocol;
}

static __always_inline void write6(struct bpf_sock_addr *ctx, const struct endpoint *e)
{
	ctx->user_ip6[0] = e->address[0];
	ctx->user_ip6[1] = e->address[1];
	ctx->user_ip6[2] = e->address[2];
	ctx->user_ip6[3] = e->address[3];
	ctx->user_port = e->port;
}

static __always_inline int deny(enum verdict verdict)
{
	if (can_set_errno && verdict == REFUSED)
		bpf_set_retval(-ECONNREFUSED);
	return DENY;
}

static __always_inline struct caller caller_of(struct bpf_sock_addr *ctx)
{
	struct caller caller = {
		.netns = bpf_get_netns_cookie(ctx),
		.cookie = bpf_get_socket_cookie(ctx),
	};

	caller.host = caller.netns == host_netns;
	return caller;
}

// resolve_connect turns the address of a Service into that of a backend.
static __always_inline enum verdict resolve_connect(struct bpf_sock_addr *ctx, struct endpoint *to)
{
	struct endpoint service = *to;
	struct caller caller = caller_of(ctx);
	enum verdict verdict = decide(&service, &caller, to);

	if (verdict == CHOSEN)
		note_connected(ctx->sk, &service, to);
	else if (verdict == NO_SERVICE)
		// A UDP socket may have been connected to a Service before.
		bpf_sk_storage_delete(&connected, ctx->sk);
	return verdict;
}

// resolve_send does the same for a single datagram.
static __always_inline enum verdict resolve_send(struct bpf_sock_addr *ctx, struct endpoint *to)
{
	struct endpoint service = *to;
	struct caller caller = caller_of(ctx);
	enum verdict verdict;

	used_before(ctx->sk, &service, &caller.used);
	verdict = decide(&service, &caller, to);
	if (verdict == CHOSEN)
		note_unconnected(ctx->sk, &service, to);
	return verdict;
}

SEC("cgroup/connect4")
int connect4(struct bpf_sock_addr *ctx)
{
	struct endpoint to = {};
	enum verdict verdict;

	read4(ctx, &to);
	verdict = resolve_connect(ctx, &to);
	if (verdict == CHOSEN)
		write4(ctx, &to);
	return verdict <= CHOSEN ? ALLOW : deny(verdict);
}

SEC("cgroup/connect6")
int connect6(struct bpf_sock_addr *ctx)
{
	struct endpoint to = {};
	enum verdict verdict;

	read6(ctx, &to);
	verdict = resolve_connect(ctx, &to);
	if (verdict == CHOSEN)
		write6(ctx, &to);
	return verdict <= CHOSEN ? ALLOW : deny(verdict);
}

SEC("cgroup/sendmsg4")
int sendmsg4(struct bpf_sock_addr *ctx)
{
	struct endpoint to = {};
	enum verdict verdict;

	read4(ctx, &to);
	verdict = resolve_send(ctx, &to);
	if (verdict == CHOSEN)
		write4(ctx, &to);
	return verdict <= CHOSEN ? ALLOW : deny(verdict);
}

SEC("cgroup/sendmsg6")
int sendmsg6(struct bpf_sock_addr *ctx)
{
	struct endpoint to = {};
	enum verdict verdict;

	read6(ctx, &to);
	verdict = resolve_send(ctx, &to);
	if (verdict == CHOSEN)
		write6(ctx, &to);
	return verdict <= CHOSEN ? ALLOW : deny(verdict);
}

SEC("cgroup/recvmsg4")
int recvmsg4(struct bpf_sock_addr *ctx)
{
	struct endpoint from = {};

	read4(ctx, &from);
	if (peer_service(ctx->sk, &from) || sender_service(ctx->sk, &from))
		write4(ctx, &from);
	return ALLOW;
}

SEC("cgroup/recvmsg6")
int recvmsg6(struct bpf_sock_addr *ctx)
{
	struct endpoint from = {};

	read6(ctx, &from);
	if (peer_service(ctx->sk, &from) || sender_service(ctx->sk, &from))
		write6(ctx, &from);
	return ALLOW;
}

SEC("cgroup/getpeername4")
int getpeername4(struct bpf_sock_addr *ctx)
{
	struct endpoint peer = {};

	read4(ctx, &peer);
	if (peer_service(ctx->sk, &peer))
		write4(ctx, &peer);
	return ALLOW;
}

SEC("cgroup/getpeername6")
int getpeername6(struct bpf_sock_addr *ctx)
{
	struct endpoint peer = {};

	read6(ctx, &peer);
	if (peer_service(ctx->sk, &peer))
		write6(ctx, &peer);
	return ALLOW;
}

// keep_node_port keeps a program of the node from taking a NodePort, which it
// would never see a connection at.
static __always_inline int keep_node_port(struct bpf_sock *ctx, struct endpoint *to)
{
	struct endpoint node;

	if (ctx->protocol != IPPROTO_TCP && ctx->protocol != IPPROTO_UDP)
		return ALLOW;
	if (bpf_get_netns_cookie(ctx) != host_netns)
		return ALLOW;
	to->port = bpf_htons(ctx->src_port);
	to->protocol = ctx->protocol;
	node = *to;
	generalize(&node);
	if (!bpf_map_lookup_elem(&frontends, &node))
		return ALLOW;
	if (!is_unspecified(to) && !is_loopback(to) && !is_node(to))
		return ALLOW;
	if (can_set_errno)
		bpf_set_retval(-EADDRINUSE);
	return DENY;
}

SEC("cgroup/post_bind4")
int post_bind4(struct bpf_sock *ctx)
{
	struct endpoint to = {};

	to.address[2] = bpf_htonl(0xffff);
	to.address[3] = ctx->src_ip4;
	return keep_node_port(ctx, &to);
}

// post_bind6 guards both families where the address is unspecified: such a
// socket takes the port in both, unless it says otherwise.
SEC("cgroup/post_bind6")
int post_bind6(struct bpf_sock *ctx)
{
	struct endpoint to = {};

	to.address[0] = ctx->src_ip6[0];
	to.address[1] = ctx->src_ip6[1];
	to.address[2] = ctx->src_ip6[2];
	to.address[3] = ctx->src_ip6[3];
	if (is_unspecified(&to)) {
		struct endpoint to4 = {};

		to4.address[2] = bpf_htonl(0xffff);
		if (keep_node_port(ctx, &to4) == DENY)
			return DENY;
	}
	return keep_node_port(ctx, &to);
}

SEC("iter/udp")
int release(struct bpf_iter__udp *ctx)
{
	struct udp_sock *sk = ctx->udp_sk;
	struct endpoint peer = {};
	struct translation *entry;

	if (!sk)
		return 0;
	entry = bpf_sk_storage_get(&connected, sk, NULL, 0);
	if (!entry || serves(&entry->service, &entry->backend))
		return 0;
	// It may have been disconnected since, which no hook tells of.
	peer_of(sk, &peer);
	if (same(&peer, &entry->backend))
		bpf_sock_destroy(&sk->inet.sk.__sk_common);
	return 0;
}

// question is what ask reads from a packet and writes back into it.
struct question {
	struct endpoint to;
	enum verdict verdict;
	__u64 netns;
	__u64 cookie;
	struct endpoint backend;
	__u32 host; // 1 if asked by a program of the node
};

// bpf2go emits Go types only for what it finds in the object's BTF.
const struct question *const question_type __attribute__((unused));

SEC("tc")
int ask(struct __sk_buff *skb)
{
	struct question *question = (void *)(long)skb->data;
	struct endpoint to, backend = {};
	struct caller caller = {};

	if ((void *)(question + 1) > (void *)(long)skb->data_end)
		return -1;
	to = question->to;
	caller.host = question->host;
	caller.netns = question->netns;
	caller.cookie = question->cookie;
	question->verdict = decide(&to, &caller, &backend);
	question->backend = backend;
	return 0;
}

char __license[] SEC("license") = "Dual BSD/GPL";
