package nft

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// A rule is a program for the kernel's nftables machine: expressions that load
// and compare registers and end with a verdict. An expression that finds nothing
// ends the rule, and the next rule is tried.
//
// Registers are 16 words of 4 bytes, counted from 0. A value that is longer takes
// several, a shorter one a whole one. What follows each other in registers is a
// key for sets and maps: their concatenations. Registers mean nothing across
// rules: kernels from 6.4 refuse to load what the rule itself did not store.
type rule struct {
	attributes
	comment string
}

// Constants that golang.org/x/sys/unix lacks.
const (
	ctDstIP4        = 20 // NFT_CT_DST_IP
	ctDstIP6        = 22 // NFT_CT_DST_IP6
	opDelete        = 2  // NFT_DYNSET_OP_DELETE
	statusDNAT      = 1 << 5
	directionOrig   = 0 // IP_CT_DIR_ORIGINAL
	stateInvalid    = 1 // NF_CT_STATE_INVALID_BIT
	objectCounter   = 1 // NFT_OBJECT_COUNTER
	randomFully     = unix.NF_NAT_RANGE_PROTO_RANDOM_FULLY
	userDataComment = 0 // NFTNL_UDATA_RULE_COMMENT, and the same for tables
)

func register(word int) uint32 { return uint32(unix.NFT_REG32_00 + word) }

func (r *rule) expression(name string, write func(*attributes)) {
	r.nested(unix.NFTA_LIST_ELEM, func(a *attributes) {
		a.string(unix.NFTA_EXPR_NAME, name)
		a.nested(unix.NFTA_EXPR_DATA, write)
	})
}

// payload loads bytes of the packet; base is NFT_PAYLOAD_*.
func (r *rule) payload(word int, base, offset, length uint32) {
	r.expression("payload", func(a *attributes) {
		a.u32(unix.NFTA_PAYLOAD_DREG, register(word))
		a.u32(unix.NFTA_PAYLOAD_BASE, base)
		a.u32(unix.NFTA_PAYLOAD_OFFSET, offset)
		a.u32(unix.NFTA_PAYLOAD_LEN, length)
	})
}

// meta loads what the kernel knows of a packet; key is NFT_META_*.
func (r *rule) meta(word int, key uint32) {
	r.expression("meta", func(a *attributes) {
		a.u32(unix.NFTA_META_KEY, key)
		a.u32(unix.NFTA_META_DREG, register(word))
	})
}

// ct loads what conntrack knows of the packet's connection; key is NFT_CT_*.
func (r *rule) ct(word int, key uint32, directed bool) {
	r.expression("ct", func(a *attributes) {
		a.u32(unix.NFTA_CT_KEY, key)
		a.u32(unix.NFTA_CT_DREG, register(word))
		if directed {
			a.bytes(unix.NFTA_CT_DIRECTION, []byte{directionOrig})
		}
	})
}

// compare goes on if the register holds a value in relation op, NFT_CMP_*.
func (r *rule) compare(word int, op uint32, data []byte) {
	r.expression("cmp", func(a *attributes) {
		a.u32(unix.NFTA_CMP_SREG, register(word))
		a.u32(unix.NFTA_CMP_OP, op)
		a.value(unix.NFTA_CMP_DATA, data)
	})
}

// mask keeps the given bits of the first word.
func (r *rule) mask(bits []byte) {
	r.expression("bitwise", func(a *attributes) {
		a.u32(unix.NFTA_BITWISE_SREG, register(0))
		a.u32(unix.NFTA_BITWISE_DREG, register(0))
		a.u32(unix.NFTA_BITWISE_LEN, uint32(len(bits)))
		a.value(unix.NFTA_BITWISE_MASK, bits)
		a.value(unix.NFTA_BITWISE_XOR, make([]byte, len(bits)))
	})
}

// zero compares a word with 0.
func (r *rule) zero(word int, op uint32) {
	r.compare(word, op, make([]byte, bytesOfWord))
}

// constant loads data.
func (r *rule) constant(word int, data []byte) {
	r.expression("immediate", func(a *attributes) {
		a.u32(unix.NFTA_IMMEDIATE_DREG, register(word))
		a.value(unix.NFTA_IMMEDIATE_DATA, data)
	})
}

// in goes on if the key that begins at word 0 is in the set.
func (r *rule) in(s set) {
	r.expression("lookup", func(a *attributes) {
		a.string(unix.NFTA_LOOKUP_SET, s.name)
		a.u32(unix.NFTA_LOOKUP_SREG, register(0))
	})
}

// notIn goes on if the key is not in the set.
func (r *rule) notIn(word int, s set) {
	r.expression("lookup", func(a *attributes) {
		a.string(unix.NFTA_LOOKUP_SET, s.name)
		a.u32(unix.NFTA_LOOKUP_SREG, register(word))
		a.u32(unix.NFTA_LOOKUP_FLAGS, unix.NFT_LOOKUP_F_INV)
	})
}

// get loads what the map has for the key.
func (r *rule) get(word int, m set, to int) {
	r.expression("lookup", func(a *attributes) {
		a.string(unix.NFTA_LOOKUP_SET, m.name)
		a.u32(unix.NFTA_LOOKUP_SREG, register(word))
		a.u32(unix.NFTA_LOOKUP_DREG, register(to))
	})
}

// follow ends the rule with the verdict that the map has for the key.
func (r *rule) follow(word int, m set) {
	r.expression("lookup", func(a *attributes) {
		a.string(unix.NFTA_LOOKUP_SET, m.name)
		a.u32(unix.NFTA_LOOKUP_SREG, register(word))
		a.u32(unix.NFTA_LOOKUP_DREG, unix.NFT_REG_VERDICT)
	})
}

// random loads a number below n.
func (r *rule) random(word int, n uint32) {
	r.expression("numgen", func(a *attributes) {
		a.u32(unix.NFTA_NG_DREG, register(word))
		a.u32(unix.NFTA_NG_MODULUS, n)
		a.u32(unix.NFTA_NG_TYPE, unix.NFT_NG_RANDOM)
		a.u32(unix.NFTA_NG_OFFSET, 0)
	})
}

// change writes to a map; op is NFT_DYNSET_OP_*, seconds the element's life.
func (r *rule) change(op uint32, m set, key, data int, seconds uint32) {
	r.expression("dynset", func(a *attributes) {
		a.string(unix.NFTA_DYNSET_SET_NAME, m.name)
		a.u32(unix.NFTA_DYNSET_OP, op)
		a.u32(unix.NFTA_DYNSET_SREG_KEY, register(key))
		a.u32(unix.NFTA_DYNSET_SREG_DATA, register(data))
		if seconds > 0 {
			a.u64(unix.NFTA_DYNSET_TIMEOUT, uint64(seconds)*1000)
		}
	})
}

// dnat sends the connection to the address and port in registers.
func (r *rule) dnat(f *family, address, port int) {
	r.expression("nat", func(a *attributes) {
		a.u32(unix.NFTA_NAT_TYPE, unix.NFT_NAT_DNAT)
		a.u32(unix.NFTA_NAT_FAMILY, uint32(f.number))
		a.u32(unix.NFTA_NAT_REG_ADDR_MIN, register(address))
		a.u32(unix.NFTA_NAT_REG_PROTO_MIN, register(port))
	})
}

// masquerade makes the connection come from this node, by a random port of a
// range; zero means any port.
func (r *rule) masquerade(ports [2]uint16) {
	if ports == [2]uint16{} {
		r.expression("masq", func(a *attributes) { a.u32(unix.NFTA_MASQ_FLAGS, randomFully) })
		return
	}
	for word, port := range ports {
		r.constant(word, binary.BigEndian.AppendUint16(nil, port))
	}
	r.expression("masq", func(a *attributes) {
		// Without the second flag the kernel takes the registers, and any port.
		a.u32(unix.NFTA_MASQ_FLAGS, randomFully|unix.NF_NAT_RANGE_PROTO_SPECIFIED)
		a.u32(unix.NFTA_MASQ_REG_PROTO_MIN, register(0))
		a.u32(unix.NFTA_MASQ_REG_PROTO_MAX, register(1))
	})
}

// reject answers the packet and drops it; kind is NFT_REJECT_*.
func (r *rule) reject(kind uint32, code byte) {
	r.expression("reject", func(a *attributes) {
		a.u32(unix.NFTA_REJECT_TYPE, kind)
		a.bytes(unix.NFTA_REJECT_ICMP_CODE, []byte{code})
	})
}

// count adds to a named counter.
func (r *rule) count(name string) {
	r.expression("objref", func(a *attributes) {
		a.u32(unix.NFTA_OBJREF_IMM_TYPE, objectCounter)
		a.string(unix.NFTA_OBJREF_IMM_NAME, name)
	})
}

// verdict ends the rule; code is NF_ACCEPT, NF_DROP, NFT_GOTO or NFT_JUMP.
func (r *rule) verdict(code int32, chain string) {
	r.expression("immediate", func(a *attributes) {
		a.u32(unix.NFTA_IMMEDIATE_DREG, unix.NFT_REG_VERDICT)
		a.nested(unix.NFTA_IMMEDIATE_DATA, func(a *attributes) { a.verdict(code, chain) })
	})
}

func (r *rule) jump(chain string) { r.verdict(unix.NFT_JUMP, chain) }
func (r *rule) goTo(chain string) { r.verdict(unix.NFT_GOTO, chain) }
func (r *rule) drop()             { r.verdict(verdictDrop, "") }
func (r *rule) accept()           { r.verdict(verdictAccept, "") }

const (
	verdictDrop   = 0 // NF_DROP
	verdictAccept = 1 // NF_ACCEPT
)

func (a *attributes) verdict(code int32, chain string) {
	a.nested(unix.NFTA_DATA_VERDICT, func(a *attributes) {
		a.u32(unix.NFTA_VERDICT_CODE, uint32(code))
		if chain != "" {
			a.string(unix.NFTA_VERDICT_CHAIN, chain)
		}
	})
}
