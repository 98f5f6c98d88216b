// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// The question of a query, and the name in it, eight bytes at a time. The form
// of messages is that of RFC 1035, section 4.

#ifndef FAIRLEAD_DNS_NAME_H
#define FAIRLEAD_DNS_NAME_H

#include "packet.h"

#define HEADER_SIZE 12
#define OPT_SIZE 11
#define TYPE_A 1
#define TYPE_AAAA 28
#define TYPE_OPT 41
#define CLASS_IN 1
#define MAX_LABEL 63
#define MAX_LABELS 32
// Bounds an offset into a message for the verifier.
#define INSIDE(at) ((at) & 0xff)

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define FIRST_BYTES(n) ((1ULL << 8 * (n)) - 1)
#define SVC 0x63767303ULL
#else
#define FIRST_BYTES(n) (~(~0ULL >> 8 * (n)))
#define SVC 0x0373766300000000ULL
#endif

#define EACH_BYTE 0x0101010101010101ULL

// lower returns a word in lower case. Sizes of labels are smaller than any letter,
// so they stay.
static __always_inline __u64 lower(__u64 word)
{
	__u64 low = word & 0x7f * EACH_BYTE;
	__u64 from_a = low + (0x80 - 'A') * EACH_BYTE, after_z = low + (0x7f - 'Z') * EACH_BYTE;

	return word | ((from_a ^ after_z) & ~word & 0x80 * EACH_BYTE) >> 2;
}

// word returns the bytes of a message from an offset on, at most eight, and zeros.
static __always_inline __u64 word(const struct scratch *s, __u32 at, __u32 bytes)
{
	__u64 w;

	__builtin_memcpy(&w, s->message + INSIDE(at), sizeof(w));
	return bytes >= WORD ? w : w & FIRST_BYTES(bytes);
}

static __always_inline __u16 number(const struct scratch *s, __u32 at)
{
	return s->message[INSIDE(at)] << 8 | s->message[INSIDE(at + 1)];
}

// read_question tells whether a message is one question for addresses, with at
// most an OPT record without options (RFC 6891), and nothing else.
SEPARATE int read_question(struct __sk_buff *skb, struct scratch *s, struct query *q)
{
	const __u8 *m;
	__u32 size;
	__u64 w;

	if (!skb || !s || !q)
		return false;
	m = s->message;
	size = q->size;
	if (size < HEADER_SIZE + 6 || size > MESSAGE_SIZE)
		return false;
	if (bpf_skb_load_bytes(skb, q->udp + sizeof(struct udphdr), s->message, size))
		return false;
	// A query (QR and the opcode are zero), its four counts.
	w = bpf_be64_to_cpu(word(s, 4, WORD));
	if (m[2] & 0xf8 || (w & ~1ULL) != 1ULL << 48)
		return false;
	q->opt = w & 1;
	q->end = size;
	if (q->opt) {
		if (size < HEADER_SIZE + 6 + OPT_SIZE)
			return false;
		q->end = size - OPT_SIZE;
		// The root, the type, any size and code, version 0; no options.
		w = bpf_be64_to_cpu(word(s, q->end, WORD));
		if ((w & 0xffffff000000ff00) != (__u64)TYPE_OPT << 40 || number(s, q->end + 9))
			return false;
	}
	w = (__u32)number(s, q->end - 4) << 16 | number(s, q->end - 2);
	q->six = w == (TYPE_AAAA << 16 | CLASS_IN);
	return q->six || w == (TYPE_A << 16 | CLASS_IN);
}

// in_domain tells whether the question's name ends as the cluster domain does, at
// q->domain, of which only read_name knows whether it is where a label begins.
SEPARATE int in_domain(const struct scratch *s, struct query *q, const struct zone *z)
{
	bool exact = true;
	__u32 size;

	if (!s || !q || !z)
		return false;
	size = z->domain_size;
	if (q->end < HEADER_SIZE + 4 + size)
		return false;
	q->domain = q->end - 4 - size;
	for (__u32 i = 0; i < DOMAIN_WORDS && i * WORD < size; i++) {
		__u64 w = word(s, q->domain + i * WORD, size - i * WORD);

		if (lower(w) != z->domain[i])
			return false;
		exact &= w == z->domain[i];
	}
	q->exact = exact;
	return true;
}

// read_name reads the labels in front of the domain. Those that decide whether the
// name exists become the key: SERVICE.NAMESPACE.svc, NAMESPACE.svc, or the last
// one. It returns how many labels are in front of the key, or less than 0.
SEPARATE int read_name(const struct scratch *s, const struct query *q, struct name *key, __u64 *digest)
{
	__u32 at = HEADER_SIZE, last = 0, second = 0, third = 0, size;
	int labels = 0, taken = 1;
	__u64 sum = 0;

	if (!s || !q || !key || !digest)
		return -1;
	for (int i = 0; i < MAX_LABELS && at < q->domain; i++) {
		__u8 length = s->message[INSIDE(at)];

		if (!length || length > MAX_LABEL)
			return -1;
		third = second;
		second = last;
		last = at;
		labels++;
		at += 1 + length;
	}
	if (at != q->domain || !labels)
		return -1;
	at = last;
	if (lower(word(s, last, 4)) == SVC) {
		taken = labels < 3 ? labels : 3;
		at = taken == 1 ? last : taken == 2 ? second : third;
	}
	size = q->domain - at;
	if (size > NAME_SIZE)
		return -1;
	for (__u32 i = 0; i < NAME_WORDS && i * WORD < size; i++) {
		__u64 w = lower(word(s, at + i * WORD, size - i * WORD));

		key->word[i] = w;
		sum = (sum ^ w) * 0x9e3779b97f4a7c15ULL;
	}
	*digest = sum;
	return labels - taken;
}

#endif
