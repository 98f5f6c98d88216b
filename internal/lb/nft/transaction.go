package nft

import (
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/fairlead-net/fairlead/internal/lb"
)

// chunk is how many bytes of elements one message has: an attribute's length
// has 16 bits.
const chunk = 60_000

// transaction gathers changes of one table that the kernel makes at once or not
// at all.
type transaction struct {
	messages
	layout *layout
	family uint8 // of the table, NFPROTO_*
	sets   uint32
	rules  int // that are added
	// owners are the frontends whose elements a message holds, by its number.
	owners map[uint32][]lb.Frontend
	// chains and present are what is there already: chains are kept, and of the elements
	// only those that differ are written. A transaction that makes a difference, or the
	// table anew, has none.
	chains  map[string]bool
	present map[elementKey]string
	named   map[string]bool // chains that the transaction wants
	// spoil changes elements before they are written; tests break them there.
	spoil func(*element)
}

func newTransaction(l *layout) *transaction {
	t := &transaction{layout: l, family: unix.NFPROTO_INET, owners: map[uint32][]lb.Frontend{}, named: map[string]bool{}}
	// The generation is filled in by commit.
	t.begin(unix.NFNL_MSG_BATCH_BEGIN, 0, 0, unix.NFNL_SUBSYS_NFTABLES)
	var a attributes
	a.u32(unix.NFNL_BATCH_GENID, 0)
	t.end(a)
	return t
}

// generationAt is where the first message has the generation.
const generationAt = unix.SizeofNlMsghdr + 4 + unix.SizeofNlAttr

// add appends a message about something in the table.
func (t *transaction) add(kind, flags uint16, write func(*attributes)) {
	t.addTo(t.family, kind, flags, write)
}

// addTo appends a message about something in a table of any family.
func (t *transaction) addTo(family uint8, kind, flags uint16, write func(*attributes)) {
	t.begin(unix.NFNL_SUBSYS_NFTABLES<<8|kind, flags, family, 0)
	var a attributes
	write(&a)
	t.end(a)
}

func comment(text string) []byte {
	return append([]byte{userDataComment, byte(len(text) + 1)}, append([]byte(text), 0)...)
}

func (t *transaction) newTable(text string) {
	t.add(unix.NFT_MSG_NEWTABLE, unix.NLM_F_CREATE, func(a *attributes) {
		a.string(unix.NFTA_TABLE_NAME, t.layout.table)
		a.bytes(tableUserData, comment(text))
	})
}

func (t *transaction) deleteTable() {
	t.add(unix.NFT_MSG_DELTABLE, 0, func(a *attributes) { a.string(unix.NFTA_TABLE_NAME, t.layout.table) })
}

// Attributes that golang.org/x/sys/unix lacks.
const (
	tableHandle   = 4  // NFTA_TABLE_HANDLE
	tableUserData = 6  // NFTA_TABLE_USERDATA
	descConcat    = 2  // NFTA_SET_DESC_CONCAT
	fieldLength   = 1  // NFTA_SET_FIELD_LEN
	elementEnd    = 10 // NFTA_SET_ELEM_KEY_END
	setConcat     = 0x80
	bytesOfWord   = 4
)

func (t *transaction) newSet(s set) {
	t.sets++
	t.add(unix.NFT_MSG_NEWSET, unix.NLM_F_CREATE, func(a *attributes) {
		a.string(unix.NFTA_SET_TABLE, t.layout.table)
		a.string(unix.NFTA_SET_NAME, s.name)
		a.u32(unix.NFTA_SET_ID, t.sets)
		a.u32(unix.NFTA_SET_FLAGS, s.allFlags())
		a.u32(unix.NFTA_SET_KEY_TYPE, typeNumber(s.key))
		a.u32(unix.NFTA_SET_KEY_LEN, s.length(s.key))
		switch {
		case s.verdicts:
			a.u32(unix.NFTA_SET_DATA_TYPE, verdictType)
			a.u32(unix.NFTA_SET_DATA_LEN, 16) // what nft sends; the kernel takes its own
		case len(s.data) > 0:
			a.u32(unix.NFTA_SET_DATA_TYPE, typeNumber(s.data))
			a.u32(unix.NFTA_SET_DATA_LEN, s.length(s.data))
		}
		if len(s.key) > 1 {
			a.nested(unix.NFTA_SET_DESC, func(a *attributes) {
				if s.size > 0 {
					a.u32(unix.NFTA_SET_DESC_SIZE, s.size)
				}
				a.nested(descConcat, func(a *attributes) {
					for _, f := range s.key {
						a.nested(unix.NFTA_LIST_ELEM, func(a *attributes) { a.u32(fieldLength, f.length) })
					}
				})
			})
		}
	})
}

func (s set) allFlags() uint32 {
	flags := s.flags
	if s.verdicts || len(s.data) > 0 {
		flags |= unix.NFT_SET_MAP
	}
	if len(s.key) > 1 {
		flags |= setConcat
	}
	return flags
}

// length is that of one field, or of whole words where there are several.
func (s set) length(fields []field) uint32 {
	if len(fields) == 1 {
		return fields[0].length
	}
	return uint32(words(fields) * bytesOfWord)
}

// typeNumber is how nft writes a concatenation: six bits for each type.
func typeNumber(fields []field) uint32 {
	var n uint32
	for _, f := range fields {
		n = n<<6 | f.kind
	}
	return n
}

func (t *transaction) deleteSet(name string) {
	t.add(unix.NFT_MSG_DELSET, 0, func(a *attributes) {
		a.string(unix.NFTA_SET_TABLE, t.layout.table)
		a.string(unix.NFTA_SET_NAME, name)
	})
}

// clearSet deletes all elements.
func (t *transaction) clearSet(name string) {
	t.add(unix.NFT_MSG_DELSETELEM, 0, func(a *attributes) {
		a.string(unix.NFTA_SET_ELEM_LIST_TABLE, t.layout.table)
		a.string(unix.NFTA_SET_ELEM_LIST_SET, name)
	})
}

// newChain adds a chain, unless it is there; hook is nil unless packets enter by it.
func (t *transaction) newChain(name string, h *hook) {
	t.named[name] = true
	if t.chains[name] {
		return
	}
	t.add(unix.NFT_MSG_NEWCHAIN, unix.NLM_F_CREATE, func(a *attributes) {
		a.string(unix.NFTA_CHAIN_TABLE, t.layout.table)
		a.string(unix.NFTA_CHAIN_NAME, name)
		if h == nil {
			return
		}
		a.nested(unix.NFTA_CHAIN_HOOK, func(a *attributes) {
			a.u32(unix.NFTA_HOOK_HOOKNUM, h.number)
			a.u32(unix.NFTA_HOOK_PRIORITY, uint32(h.priority))
		})
		a.u32(unix.NFTA_CHAIN_POLICY, verdictAccept)
		a.string(unix.NFTA_CHAIN_TYPE, h.kind)
	})
}

func (t *transaction) deleteChain(name string) {
	t.add(unix.NFT_MSG_DELCHAIN, 0, func(a *attributes) {
		a.string(unix.NFTA_CHAIN_TABLE, t.layout.table)
		a.string(unix.NFTA_CHAIN_NAME, name)
	})
}

// newRule appends a rule to a chain.
func (t *transaction) newRule(chain string, r rule) {
	t.rules++
	t.add(unix.NFT_MSG_NEWRULE, unix.NLM_F_CREATE|unix.NLM_F_APPEND, func(a *attributes) {
		a.string(unix.NFTA_RULE_TABLE, t.layout.table)
		a.string(unix.NFTA_RULE_CHAIN, chain)
		a.bytes(unix.NFTA_RULE_EXPRESSIONS|unix.NLA_F_NESTED, r.attributes)
		if r.comment != "" {
			a.bytes(unix.NFTA_RULE_USERDATA, comment(r.comment))
		}
	})
}

// deleteRules empties a chain, or all chains if none is named.
func (t *transaction) deleteRules(chain string) {
	t.add(unix.NFT_MSG_DELRULE, 0, func(a *attributes) {
		a.string(unix.NFTA_RULE_TABLE, t.layout.table)
		if chain != "" {
			a.string(unix.NFTA_RULE_CHAIN, chain)
		}
	})
}

func (t *transaction) newCounter(name string) {
	t.add(unix.NFT_MSG_NEWOBJ, unix.NLM_F_CREATE, func(a *attributes) {
		a.string(unix.NFTA_OBJ_TABLE, t.layout.table)
		a.string(unix.NFTA_OBJ_NAME, name)
		a.u32(unix.NFTA_OBJ_TYPE, objectCounter)
		a.nested(unix.NFTA_OBJ_DATA, func(*attributes) {})
	})
}

// elements writes one message with elements; kind is NFT_MSG_*SETELEM.
func (t *transaction) elements(kind uint16, s string, list attributes, owners []lb.Frontend) {
	var flags uint16
	if kind == unix.NFT_MSG_NEWSETELEM {
		flags = unix.NLM_F_CREATE
	}
	t.add(kind, flags, func(a *attributes) {
		a.string(unix.NFTA_SET_ELEM_LIST_TABLE, t.layout.table)
		a.string(unix.NFTA_SET_ELEM_LIST_SET, s)
		a.bytes(unix.NFTA_SET_ELEM_LIST_ELEMENTS|unix.NLA_F_NESTED, list)
	})
	if len(owners) > 0 {
		t.owners[t.count] = owners
	}
}

// refusal is what the kernel had against one message.
type refusal struct {
	message uint32
	errno   unix.Errno
}

// refused is the error of a transaction that was not made.
type refused []refusal

func (r refused) Error() string {
	return fmt.Sprintf("the kernel refused %d parts of a change to nftables, the first one with %q", len(r), r[0].errno)
}

func (r refused) Unwrap() error { return r[0].errno }

// commit hands the transaction to the kernel. If generation is not zero, the
// kernel refuses unless nobody has changed any table since that generation.
func (t *transaction) commit(s *socket, generation uint32) error {
	binary.BigEndian.PutUint32(t.data[generationAt:], generation)
	// The last message asks for an answer, without which silence could be a loss.
	last := t.count
	flags := binary.NativeEndian.Uint16(t.data[t.start+6:])
	binary.NativeEndian.PutUint16(t.data[t.start+6:], flags|unix.NLM_F_ACK)
	t.begin(unix.NFNL_MSG_BATCH_END, 0, 0, unix.NFNL_SUBSYS_NFTABLES)
	t.end(nil)
	s.drain()
	if err := s.send(t.data); err != nil {
		return fmt.Errorf("sending a change to nftables: %w", err)
	}
	var failed refused
	done := false
	err := s.receive(unix.MSG_DONTWAIT, func(r reply) bool {
		if r.kind != unix.NLMSG_ERROR {
			return true
		}
		if errno := r.errno(); errno != 0 {
			failed = append(failed, refusal{r.number, errno})
		} else if r.number == last {
			done = true
		}
		return true
	})
	switch {
	case len(failed) > 0:
		return failed
	case done && errors.Is(err, unix.EAGAIN):
		return nil
	}
	return fmt.Errorf("no answer to a change of nftables: %w", err)
}
