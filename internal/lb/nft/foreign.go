package nft

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"

	"golang.org/x/sys/unix"
)

// ForeignTable is a table of another program, as far as chains call each other.
type ForeignTable struct {
	// Family is ip or ip6.
	Family, Name string
	// Base tells of each chain whether packets enter by it, rather than by calls.
	Base  map[string]bool
	Calls []Call
}

// Call is a rule by which one chain jumps or goes to another.
type Call struct {
	From, To string
	handle   uint64
}

// String returns family and name.
func (t ForeignTable) String() string { return t.Family + " " + t.Name }

// Foreign reads and changes tables of others, in the network namespace of the
// thread that opened it.
type Foreign struct{ socket *socket }

// OpenForeign opens the kernel's nftables.
func OpenForeign() (*Foreign, error) {
	s, err := openSocket()
	if err != nil {
		return nil, err
	}
	return &Foreign{s}, nil
}

// Close lets go of the kernel's nftables.
func (f *Foreign) Close() { f.socket.close() }

// Tables returns all tables of IPv4 and IPv6, and a number that changes with any
// of them, for Remove.
func (f *Foreign) Tables() ([]ForeignTable, uint32, error) {
	generation, err := f.socket.generation()
	if err != nil {
		return nil, 0, err
	}
	var tables []ForeignTable
	for _, family := range []string{"ip", "ip6"} {
		names, err := f.tableNames(family)
		if err != nil {
			return nil, 0, err
		}
		for _, name := range names {
			table := ForeignTable{Family: family, Name: name}
			if err := errors.Join(f.chains(&table), f.calls(&table)); err != nil {
				return nil, 0, err
			}
			tables = append(tables, table)
		}
	}
	return tables, generation, nil
}

func protocolFamily(name string) uint8 {
	if name == "ip6" {
		return unix.NFPROTO_IPV6
	}
	return unix.NFPROTO_IPV4
}

// tableNames lists the tables of a family.
func (f *Foreign) tableNames(family string) ([]string, error) {
	var names []string
	m := requestOf(protocolFamily(family), unix.NFT_MSG_GETTABLE, unix.NLM_F_DUMP, func(*attributes) {})
	err := f.socket.dump(m, func() { names = nil }, func(data []byte) {
		names = append(names, text(find(data, unix.NFTA_TABLE_NAME)))
	})
	if err != nil {
		return nil, fmt.Errorf("listing the nftables tables of %s: %w", family, err)
	}
	return names, nil
}

func (f *Foreign) chains(t *ForeignTable) error {
	m := requestOf(protocolFamily(t.Family), unix.NFT_MSG_GETCHAIN, unix.NLM_F_DUMP, func(*attributes) {})
	err := f.socket.dump(m, func() { t.Base = map[string]bool{} }, func(data []byte) {
		if text(find(data, unix.NFTA_CHAIN_TABLE)) == t.Name {
			t.Base[text(find(data, unix.NFTA_CHAIN_NAME))] = find(data, unix.NFTA_CHAIN_HOOK) != nil
		}
	})
	if err != nil {
		return fmt.Errorf("listing the chains of table %s: %w", t, err)
	}
	return nil
}

func (f *Foreign) calls(t *ForeignTable) error {
	m := requestOf(protocolFamily(t.Family), unix.NFT_MSG_GETRULE, unix.NLM_F_DUMP, func(a *attributes) {
		a.string(unix.NFTA_RULE_TABLE, t.Name)
	})
	err := f.socket.dump(m, func() { t.Calls = nil }, func(data []byte) {
		handle := find(data, unix.NFTA_RULE_HANDLE)
		if text(find(data, unix.NFTA_RULE_TABLE)) != t.Name || len(handle) != 8 {
			return
		}
		each(find(data, unix.NFTA_RULE_EXPRESSIONS), func(_ uint16, expression []byte) {
			to := find(expression, unix.NFTA_EXPR_DATA, unix.NFTA_IMMEDIATE_DATA, unix.NFTA_DATA_VERDICT, unix.NFTA_VERDICT_CHAIN)
			if text(find(expression, unix.NFTA_EXPR_NAME)) == "immediate" && to != nil {
				t.Calls = append(t.Calls, Call{text(find(data, unix.NFTA_RULE_CHAIN)), text(to), binary.BigEndian.Uint64(handle)})
			}
		})
	})
	if err != nil {
		return fmt.Errorf("listing the rules of table %s: %w", t, err)
	}
	return nil
}

// Removal is what is to go from one table: all of it, or calls and chains.
type Removal struct {
	Table  ForeignTable
	Whole  bool
	Calls  []Call
	Chains map[string]bool
}

// ErrChanged says that somebody changed nftables between a look and a change.
var ErrChanged = errors.New("somebody changed nftables meanwhile; nothing was removed, try again")

// Remove removes all at once or, if anything was changed since Tables returned
// this generation, nothing: ErrChanged.
func (f *Foreign) Remove(removals []Removal, generation uint32) error {
	t := newTransaction(nil)
	for _, r := range removals {
		t.remove(r)
	}
	err := t.commit(f.socket, generation)
	if errors.Is(err, unix.ERESTART) {
		return ErrChanged
	}
	return err
}

func (t *transaction) remove(r Removal) {
	family := protocolFamily(r.Table.Family)
	if r.Whole {
		t.addTo(family, unix.NFT_MSG_DELTABLE, 0, func(a *attributes) { a.string(unix.NFTA_TABLE_NAME, r.Table.Name) })
		return
	}
	for _, call := range r.Calls {
		t.addTo(family, unix.NFT_MSG_DELRULE, 0, func(a *attributes) {
			a.string(unix.NFTA_RULE_TABLE, r.Table.Name)
			a.string(unix.NFTA_RULE_CHAIN, call.From)
			a.u64(unix.NFTA_RULE_HANDLE, call.handle)
		})
	}
	chains := slices.Sorted(maps.Keys(r.Chains))
	// Chains call each other, so all are emptied before the first one goes.
	for _, chain := range chains {
		t.addTo(family, unix.NFT_MSG_DELRULE, 0, func(a *attributes) {
			a.string(unix.NFTA_RULE_TABLE, r.Table.Name)
			a.string(unix.NFTA_RULE_CHAIN, chain)
		})
	}
	for _, chain := range chains {
		t.addTo(family, unix.NFT_MSG_DELCHAIN, 0, func(a *attributes) {
			a.string(unix.NFTA_CHAIN_TABLE, r.Table.Name)
			a.string(unix.NFTA_CHAIN_NAME, chain)
		})
	}
}
