package kubeproxy

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"

	"github.com/fairlead-net/fairlead/internal/lb/nft"
)

// Entries of a table of iptables-legacy (struct ipt_entry and ip6t_entry of
// linux/netfilter_ipv4/ip_tables.h and netfilter_ipv6/ip6_tables.h, and struct
// xt_entry_target of linux/netfilter/x_tables.h). Behind the match of addresses
// come nfcache, and the offsets of the target and of the next entry.
const (
	matchLength4 = 84
	entryLength4 = 112
	matchLength6 = 136
	entryLength6 = 168
	targetLength = 32 // its size, name and revision
	errorTarget  = "ERROR"
)

// legacyHooks are the names of the chains by which packets enter, by hook.
var legacyHooks = [...]string{"PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"}

var errBrokenTable = errors.New("the kernel's answer is no table of iptables")

// legacyJump is a rule that jumps to an offset.
type legacyJump struct {
	from string
	to   int
}

// parseLegacy reads which chains a table has and how they call each other. hooks
// tells by hook where its chain begins, below 0 for those that the table lacks.
func parseLegacy(family, name string, entries []byte, hooks []int) (nft.ForeignTable, error) {
	t := nft.ForeignTable{Family: family, Name: name, Base: map[string]bool{}}
	matchLength, entryLength := matchLength4, entryLength4
	if family == "ip6" {
		matchLength, entryLength = matchLength6, entryLength6
	}
	starts, chain := map[int]string{}, ""
	var jumps []legacyJump
	for at := 0; at < len(entries); {
		rest := entries[at:]
		if len(rest) < entryLength {
			return t, errBrokenTable
		}
		target := int(binary.NativeEndian.Uint16(rest[matchLength+4:]))
		size := int(binary.NativeEndian.Uint16(rest[matchLength+6:]))
		if target < entryLength || size < target+targetLength || size > len(rest) {
			return t, errBrokenTable
		}
		if hook := slices.Index(hooks, at); hook >= 0 && hook < len(legacyHooks) {
			chain = legacyHooks[hook]
			t.Base[chain] = true
		}
		kind, data := text(rest[target+2:target+targetLength-1]), rest[target+targetLength:size]
		switch {
		case kind == errorTarget:
			if chain = text(data); chain == errorTarget {
				return t, resolve(&t, jumps, starts) // the end of the table
			}
			t.Base[chain] = false
			starts[at+size] = chain
		case kind == "" && len(data) >= 4:
			// What is below 0 is a verdict, and what follows is where it goes on anyway.
			if to := int(int32(binary.NativeEndian.Uint32(data))); to >= 0 && to != at+size {
				jumps = append(jumps, legacyJump{chain, to})
			}
		}
		at += size
	}
	return t, errBrokenTable
}

// resolve turns offsets into the names of chains.
func resolve(t *nft.ForeignTable, jumps []legacyJump, starts map[int]string) error {
	for _, j := range jumps {
		to, ok := starts[j.to]
		if !ok {
			return errBrokenTable
		}
		t.Calls = append(t.Calls, nft.Call{From: j.from, To: to})
	}
	return nil
}

// text is what comes before the first zero byte.
func text(data []byte) string {
	before, _, _ := bytes.Cut(data, []byte{0})
	return string(before)
}
