// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// The life of flows: when they are made, kept, and given up.

#ifndef FAIRLEAD_FLOWS_H
#define FAIRLEAD_FLOWS_H

#include "select.h"

#define SECOND 1000000000ULL

// How many seconds a flow may be silent before its place, and its port, may be
// taken. User space sets them, and sweeps by them.
const volatile __u32 closed_seconds = 10;        // both sides have said FIN, or one RST
const volatile __u32 waiting_seconds = 60;       // the same, where nothing is short of places and ports
const volatile __u32 unanswered_seconds = 60;    // a client that does not go on after its SYN
const volatile __u32 finishing_seconds = 3600;   // one side has said FIN
const volatile __u32 leaving_seconds = 120;      // the same, where only one direction passes
const volatile __u32 connected_seconds = 21600;  // TCP
const volatile __u32 datagram_seconds = 30;      // UDP that nobody answered
const volatile __u32 datagrams_seconds = 180;    // UDP

// TRIES bounds the search for a free port: so many that have rested, then so many
// that are merely closed.
#define TRIES 16

// The ports that clients are given in place of their own: all but those that only
// privileged programs send from.
#define CLIENT_PORT_FIRST 1024
#define CLIENT_PORTS (65536 - CLIENT_PORT_FIRST)

// The ports that this node sends from; none if port_count is 0.
const volatile __u16 port_first = 0;
const volatile __u16 port_count = 0;

// Endpoints that have closed a connection remember its ports for a minute
// (TIME_WAIT), and can refuse another client that comes by the same ones, as its
// timestamps tell nothing (RFC 7323, section 5.3). So ports rest for as long, unless
// all are in use.
static __always_inline __u64 patience(__u8 protocol, __u8 kind, __u8 state, __u8 other, bool pressed)
{
	__u8 both = state | other;

	if (protocol == IPPROTO_UDP)
		return both & ANSWERED ? datagrams_seconds : datagram_seconds;
	if (both & RESET)
		return closed_seconds;
	if (state & other & FINISHED)
		return pressed ? closed_seconds : waiting_seconds;
	if (!(both & ANSWERED))
		return unanswered_seconds;
	if (!(both & FINISHED))
		return connected_seconds;
	return kind == TO_DIRECT ? leaving_seconds : finishing_seconds;
}

// is_dead tells whether a flow may be forgotten, given its other direction, if
// that is known; pressed if its place is needed.
static __always_inline bool is_dead(__u8 protocol, const struct flow *f, const struct flow *other, bool pressed)
{
	__u64 used = f->used, now = bpf_ktime_get_coarse_ns();

	if (other && other->used > used)
		used = other->used;
	return now > used && now - used > patience(protocol, f->kind, f->state, other ? other->state : 0, pressed) * SECOND;
}

// touch notes a packet. Memory that all processors share is written once a
// second, and when something changes. True once a second.
static __always_inline bool touch(struct flow *f, const struct packet *p, bool answers)
{
	__u64 now = bpf_ktime_get_coarse_ns();
	__u8 state = f->state;
	bool rarely = false;

	if (p->flags & RST)
		state |= RESET;
	if (p->flags & FIN)
		state |= FINISHED;
	// Backends answer every SYN. What follows only comes if the client is there.
	if (p->tuple.protocol == IPPROTO_TCP ? !(p->flags & SYN) : answers)
		state |= ANSWERED;
	if (state != f->state)
		f->state = state;
	if (now > f->used && now - f->used > SECOND) {
		f->used = now;
		rarely = true;
	}
	return rarely;
}

// forget removes both directions of a flow, as long as they belong together.
static __noinline void forget(const struct tuple *key, const struct flow *f)
{
	struct tuple back, there;
	struct flow *reply;

	if (!key || !f)
		return;
	back = reversed(&f->to);
	there = reversed(key);
	reply = bpf_map_lookup_elem(&replies, &back);
	if (reply && same_tuple(&reply->to, &there))
		bpf_map_delete_elem(&replies, &back);
	bpf_map_delete_elem(&flows, key);
}

// take makes key the replies' tuple of a flow, if it is free or its owner is
// dead. Nobody else may get it meanwhile: two clients must never share one.
static __noinline bool take(const struct tuple *key, const struct flow *value, bool pressed)
{
	struct flow *owner, *request;
	struct tuple owned;
	__u64 used;

	if (!key || !value)
		return false;
	if (!bpf_map_update_elem(&replies, key, value, BPF_NOEXIST))
		return true;
	owner = bpf_map_lookup_elem(&replies, key);
	if (!owner)
		return false;
	owned = reversed(&owner->to);
	if (same(&owner->to.source, &value->to.source) && same(&owner->to.target, &value->to.target) &&
	    owner->to.source_port == value->to.source_port && owner->to.target_port == value->to.target_port)
		return !bpf_map_update_elem(&replies, key, value, BPF_EXIST);
	used = owner->used;
	request = bpf_map_lookup_elem(&flows, &owned);
	if (!is_dead(key->protocol, owner, request, pressed))
		return false;
	// Of several that find it dead, one gets it.
	if (!__sync_bool_compare_and_swap(&owner->used, used, value->used))
		return false;
	if (request)
		bpf_map_delete_elem(&flows, &owned);
	return !bpf_map_update_elem(&replies, key, value, BPF_EXIST);
}

#endif
