// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// The maps that the node process fills and the programs read, and the two
// storages that the programs keep for themselves.

#ifndef FAIRLEAD_MAPS_H
#define FAIRLEAD_MAPS_H

#include <stdbool.h>
#include <stddef.h>
#include <linux/bpf.h>
#include <linux/in.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

// endpoint is one end of a connection. IPv4 addresses are written as
// ::ffff:a.b.c.d, so that a socket of either family finds the same entry.
struct endpoint {
	__be32 address[4];
	__be16 port;
	__u8 protocol;
	__u8 pad;
};

// when_empty is what happens to a connection to a frontend without backends.
enum when_empty {
	REFUSE_WHEN_EMPTY = 0, // ECONNREFUSED
	DROP_WHEN_EMPTY = 1,   // EPERM
	LEAVE_TO_PACKETS = 2,  // nothing is done here
};

// frontend says which list of backends serves an address. A list is never
// changed once a frontend names it; a new list gets a new number.
struct frontend {
	__u64 list;     // 0 if count is 0
	__u32 count;
	__u32 affinity; // seconds; 0 for none
	enum when_empty when_empty;
	__u32 pad;
};

// address is one of this node, or the unspecified one of a family, which as a
// frontend's address stands for all of this node.
struct address {
	__be32 address[4];
};

struct slot {
	__u64 list;
	__u32 number; // from 0 to count-1
	__u32 pad;
};

struct member {
	__u64 list;
	struct endpoint backend;
	__u32 pad;
};

// client is a network namespace: every socket in a pod has the pod's addresses.
struct client {
	__u64 netns;
	struct endpoint frontend;
	__u32 pad;
};

struct memory {
	__u64 used; // bpf_ktime_get_ns of the last connection
	struct endpoint backend;
	__u32 pad;
};

// translation says that the application asked for service and got backend.
struct translation {
	struct endpoint service;
	struct endpoint backend;
};

#define RING_SIZE 16

// ring remembers the last translations of an unconnected socket, which may
// talk to many Services at a time.
struct ring {
	struct bpf_spin_lock lock;
	__u32 next;
	struct translation entries[RING_SIZE];
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 131072);
	__type(key, struct endpoint);
	__type(value, struct frontend);
} frontends SEC(".maps");

// addresses are those of this node at which NodePorts are served.
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 4096);
	__type(key, struct address);
	__type(value, __u32);
} addresses SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 524288);
	__type(key, struct slot);
	__type(value, struct endpoint);
} backends SEC(".maps");

// members answers whether a remembered backend is still in a list. Only lists
// that somebody may remember are in it: those of UDP, and those with affinity.
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 131072);
	__type(key, struct member);
	__type(value, __u32);
} members SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 32768);
	__type(key, struct client);
	__type(value, struct memory);
} affinity SEC(".maps");

// connected holds the translation of a connected socket. It lives and dies
// with the socket, so no load can push out the entry of an open connection.
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct translation);
} connected SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct ring);
} unconnected SEC(".maps");

#endif
