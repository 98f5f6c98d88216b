package nft

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// kernelTable is what the kernel says about our table.
type kernelTable struct {
	handle  uint64 // another one after a table of this name was made anew
	comment string
}

// request makes a message that asks about an inet table.
func request(kind, flags uint16, write func(*attributes)) *messages {
	return requestOf(unix.NFPROTO_INET, kind, flags, write)
}

// requestOf makes a message that asks about a table of another family, NFPROTO_*.
func requestOf(family uint8, kind, flags uint16, write func(*attributes)) *messages {
	m := &messages{}
	m.begin(unix.NFNL_SUBSYS_NFTABLES<<8|kind, flags, family, 0)
	var a attributes
	write(&a)
	m.end(a)
	return m
}

// getTable returns the table, and whether there is one.
func (s *socket) getTable(name string) (kernelTable, bool, error) {
	var t kernelTable
	m := request(unix.NFT_MSG_GETTABLE, unix.NLM_F_ACK, func(a *attributes) { a.string(unix.NFTA_TABLE_NAME, name) })
	err := s.query(m, func(data []byte) {
		if handle := find(data, tableHandle); len(handle) == 8 {
			t.handle = binary.BigEndian.Uint64(handle)
		}
		if user := find(data, tableUserData); len(user) > 2 && user[0] == userDataComment {
			t.comment = text(user[2:])
		}
	})
	if errors.Is(err, unix.ENOENT) {
		return t, false, nil
	}
	if err != nil {
		return t, false, fmt.Errorf("reading about table %s: %w", name, err)
	}
	return t, true, nil
}

func text(data []byte) string {
	s, _, _ := strings.Cut(string(data), "\x00")
	return s
}

// generation returns the number that rises with every change of any table.
func (s *socket) generation() (uint32, error) {
	var generation uint32
	m := request(unix.NFT_MSG_GETGEN, unix.NLM_F_ACK, func(*attributes) {})
	err := s.query(m, func(data []byte) {
		if id := find(data, unix.NFTA_GEN_ID); len(id) == 4 {
			generation = binary.BigEndian.Uint32(id)
		}
	})
	if err != nil {
		return 0, fmt.Errorf("reading the generation of nftables: %w", err)
	}
	return generation, nil
}

// names lists what a table has of one kind: chains, sets or rules. All say their
// table in attribute 1; sets say their name and rules their chain's in attribute
// 2, where a chain has its handle.
func (s *socket) names(kind uint16, table string) ([]string, error) {
	var names []string
	name := uint16(2)
	if kind == unix.NFT_MSG_GETCHAIN {
		name = unix.NFTA_CHAIN_NAME
	}
	m := request(kind, unix.NLM_F_DUMP, func(a *attributes) { a.string(1, table) })
	err := s.dump(m, func() { names = nil }, func(data []byte) {
		if text(find(data, 1)) == table {
			names = append(names, text(find(data, name)))
		}
	})
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return nil, fmt.Errorf("listing table %s: %w", table, err)
	}
	return names, nil
}

// kernelElement is an element as the kernel has it. The data of a map to
// verdicts is nil; chain is where the verdict leads.
type kernelElement struct {
	key, end, data []byte
	chain          string
}

// clone keeps an element beyond the visit.
func (x kernelElement) clone() kernelElement {
	return kernelElement{slices.Clone(x.key), slices.Clone(x.end), slices.Clone(x.data), x.chain}
}

// eachElement visits what a message about elements has; it is overwritten by the
// next message.
func eachElement(data []byte, visit func(kernelElement)) {
	each(find(data, unix.NFTA_SET_ELEM_LIST_ELEMENTS), func(_ uint16, x []byte) {
		visit(kernelElement{
			key:   find(x, unix.NFTA_SET_ELEM_KEY, unix.NFTA_DATA_VALUE),
			end:   find(x, elementEnd, unix.NFTA_DATA_VALUE),
			data:  find(x, unix.NFTA_SET_ELEM_DATA, unix.NFTA_DATA_VALUE),
			chain: text(find(x, unix.NFTA_SET_ELEM_DATA, unix.NFTA_DATA_VERDICT, unix.NFTA_VERDICT_CHAIN)),
		})
	})
}

// readElements calls visit for each element of a set; restart as in dump.
func (s *socket) readElements(table, set string, restart func(), visit func(kernelElement)) error {
	m := request(unix.NFT_MSG_GETSETELEM, unix.NLM_F_DUMP, func(a *attributes) {
		a.string(unix.NFTA_SET_ELEM_LIST_TABLE, table)
		a.string(unix.NFTA_SET_ELEM_LIST_SET, set)
	})
	err := s.dump(m, restart, func(data []byte) { eachElement(data, visit) })
	if err != nil {
		return fmt.Errorf("reading %s of table %s: %w", set, table, err)
	}
	return nil
}

// counter returns how many packets a named counter has seen.
func (s *socket) counter(table, name string) (uint64, error) {
	const counterPackets = 2 // NFTA_COUNTER_PACKETS
	var n uint64
	m := request(unix.NFT_MSG_GETOBJ, unix.NLM_F_ACK, func(a *attributes) {
		a.string(unix.NFTA_OBJ_TABLE, table)
		a.string(unix.NFTA_OBJ_NAME, name)
		a.u32(unix.NFTA_OBJ_TYPE, objectCounter)
	})
	err := s.query(m, func(data []byte) {
		if packets := find(data, unix.NFTA_OBJ_DATA, counterPackets); len(packets) == 8 {
			n = binary.BigEndian.Uint64(packets)
		}
	})
	return n, err
}
