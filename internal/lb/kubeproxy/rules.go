package kubeproxy

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/fairlead-net/fairlead/internal/lb/nft"
)

// sort tells what of the tables is kube-proxy's.
func (l *Leftovers) sort(tables []nft.ForeignTable) {
	ours := isChain()
	for _, t := range tables {
		if t.Name == ownTable {
			l.removals = append(l.removals, nft.Removal{Table: t, Whole: true})
			l.Removable = append(l.Removable, fmt.Sprintf("nftables table %s, with %s", t, number(len(t.Base), "chain")))
			continue
		}
		r, kept := plan(t, ours)
		if len(r.Chains) > 0 {
			l.removals = append(l.removals, r)
			l.Removable = append(l.Removable, fmt.Sprintf("iptables (nf_tables) table %s: %s, such as %s, and %s there from others",
				t, number(len(r.Chains), "chain"), examples(r.Chains), number(len(r.Calls), "jump")))
		}
		l.Kept = append(l.Kept, kept...)
	}
}

// plan tells what goes from a table of iptables-nft, and in words what stays.
func plan(t nft.ForeignTable, ours func(string) bool) (nft.Removal, []string) {
	r := nft.Removal{Table: t, Chains: map[string]bool{}}
	kubelets := map[string]bool{}
	for chain := range t.Base {
		if ours(chain) {
			r.Chains[chain] = true
		} else if isKubelets(chain) {
			kubelets[chain] = true
		}
	}
	var words []string
	if len(kubelets) > 0 {
		words = append(words, fmt.Sprintf("iptables (nf_tables) table %s: %s, which the kubelet looks after", t, examples(kubelets)))
	}
	words = append(words, keepUsed("iptables (nf_tables)", t, r.Chains)...)
	for _, call := range t.Calls {
		if r.Chains[call.To] && !r.Chains[call.From] {
			r.Calls = append(r.Calls, call)
		}
	}
	return r, words
}

// keepUsed takes the chains from those to go that somebody else's chain needs,
// such as that of a CNI plugin which lets kube-proxy's masquerade, and all that
// these need in turn. It returns in words who needs what, in which kind of table.
func keepUsed(kind string, t nft.ForeignTable, going map[string]bool) []string {
	var needed, words []string
	for _, call := range t.Calls {
		// kube-proxy has jumps of its own in the chains by which packets enter, but
		// none to this one: such a rule is somebody's who wants masquerading.
		base := t.Base[call.From] && call.To != markMasq
		if going[call.To] && !going[call.From] && !base {
			needed = append(needed, call.To)
			words = append(words, fmt.Sprintf("%s table %s: %s, which %s uses", kind, t, call.To, user(t, call)))
		}
	}
	for len(needed) > 0 {
		chain := needed[0]
		needed = needed[1:]
		if !going[chain] {
			continue
		}
		delete(going, chain)
		if chain == markMasq {
			needed = append(needed, postrouting)
		}
		for _, call := range t.Calls {
			if call.From == chain {
				needed = append(needed, call.To)
			}
		}
	}
	slices.Sort(words)
	return slices.Compact(words)
}

// user says who needs a chain of kube-proxy's.
func user(t nft.ForeignTable, call nft.Call) string {
	if t.Base[call.From] {
		return "a rule of somebody else in chain " + call.From
	}
	return "chain " + call.From + " of somebody else"
}

// examples names up to four of a set.
func examples(names map[string]bool) string {
	sorted := slices.Sorted(maps.Keys(names))
	// The names that a person knows are shorter than those with a hash.
	slices.SortStableFunc(sorted, func(a, b string) int { return len(a) - len(b) })
	return strings.Join(sorted[:min(4, len(sorted))], ", ")
}

// number returns a count of things, whose plural ends in s.
func number(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
