// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// What the DNS process tells the program, and what the program tells it.

#ifndef FAIRLEAD_DNS_MAPS_H
#define FAIRLEAD_DNS_MAPS_H

#include <stdbool.h>
#include <stddef.h>
#include <linux/bpf.h>
#include <linux/in.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

// A function that is no part of its callers: the verifier looks at it once, for
// any arguments, and not again in every state of every caller.
#define SEPARATE __attribute__((noinline))

#define WORD 8
#define NAME_WORDS 10
#define NAME_SIZE (NAME_WORDS * WORD)
#define DOMAIN_WORDS 8
#define DOMAIN_SIZE (DOMAIN_WORDS * WORD)
#define LIST4 16
#define LIST6 8
#define SOA_SIZE 54

// name is one in front of the cluster domain, in wire form without an end, in
// lower case, filled up with zeros.
struct name {
	__u64 word[NAME_WORDS];
};

enum kind {
	LEFT = 0,     // the name exists; what it stands for, and what is below it, user space knows
	ANSWERED = 1, // these are its addresses, of which there may be none
};

// entry says what a name stands for. The kernel may reuse the memory of an entry
// for another one while a program reads it; then what is at its two ends differs,
// or is not of the name.
struct entry {
	__u64 first;   // a digest of the name
	__u64 list;    // where the addresses are if there are several of a family
	__u32 version; // no two are alike
	enum kind kind;
	__be32 address4;
	__be32 address6[4];
	__u32 count4;
	__u32 count6;
	__u32 last_version;
	__u64 last;
};

// list holds several addresses of a Service. It is never changed: other addresses
// are another list, with another number.
struct list {
	__u64 first; // its number
	__be32 address4[LIST4];
	__be32 address6[LIST6][4];
	__u64 last;
};

// listen is where queries are answered.
struct listen {
	__be32 address[4]; // ::ffff:a.b.c.d for IPv4
	__be16 port;
	__u16 pad;
};

#define HERE 4

// zone is what all answers have in common. There are two, of which one is valid
// and not written to.
struct zone {
	__u32 version;
	__u8 enabled;     // answer at all
	__u8 negative;    // every name is known: what is not there does not exist
	__u8 recursive;   // other names are forwarded (RA)
	__u8 domain_size; // with the zero at its end
	__u64 domain[DOMAIN_WORDS];
	__be32 ttl;
	__be16 max_udp;
	__u8 soa[SOA_SIZE];
	struct listen here[HERE]; // where queries are answered, some or all, and zeros
	__u32 elsewhere;          // the map has more
	__u32 last_version;
};

enum reason {
	UNUSUAL = 0,   // not one plain question for addresses
	ELSEWHERE = 1, // not below the cluster domain, or too long
	OTHER = 2,     // a name that only user space knows enough of
	UNREADY = 3,   // switched off, or in the middle of a change
	REASONS = 4,
};

#define FAMILIES 2
#define TYPES 2
#define BUCKETS 6 // up to 0, 100, 200, 300, 400, 511 bytes

struct counters {
	__u64 requests[FAMILIES][TYPES];
	__u64 answered;
	__u64 missing; // NXDOMAIN
	__u64 received[BUCKETS];
	__u64 received_bytes;
	__u64 sent[BUCKETS];
	__u64 sent_bytes;
	__u64 passed[REASONS];
};

#define MESSAGE_SIZE 255
#define SLACK 96 // what is read in words may go beyond its end
#define TAIL_SIZE (LIST4 * 16 + 32)

// scratch is the memory of a program that runs.
struct scratch {
	__u8 message[MESSAGE_SIZE + 1 + SLACK]; // of the query
	__u8 tail[TAIL_SIZE];                   // what comes behind the question of the reply
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 131072);
	__type(key, struct name);
	__type(value, struct entry);
} names SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 32768);
	__type(key, __u64);
	__type(value, struct list);
} lists SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 4096);
	__type(key, struct listen);
	__type(value, __u32);
} listens SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, struct zone);
} zones SEC(".maps");

// current is the number of the valid zone.
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} current SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct counters);
} counts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct scratch);
} scratches SEC(".maps");

#endif
