package l7

import (
	"fmt"
	"slices"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/l7/waf"
	"github.com/fairlead-net/fairlead/internal/pmap"
)

// ruled are the Ingresses that want rules of ModSecurity, by name.
type ruled struct {
	all *pmap.Editor[desired.Name, *ingress]
	// dirty: there are others than last time. pending are those whose rules were not compiled
	// yet.
	dirty   bool
	pending map[desired.Name]bool
	// before is the last Table, whatever its Config.
	before Table
}

// note takes in that an Ingress is another one now; nil: it is gone.
func (r *ruled) note(name desired.Name, old, now *ingress) {
	if now != nil && now.checks != nil {
		r.all.Set(name, now)
		r.dirty = true
	} else if old != nil && old.checks != nil {
		r.all.Delete(name)
		r.dirty = true
	}
}

// rule decides what becomes of all rules: who gets a place for his text, and what is
// compiled. An Ingress is made anew where that is something else than before.
func (b *builder) rule() {
	r := &b.ruled
	var look []*ingress
	var denied map[*waf.Rules]string
	if r.dirty {
		for _, i := range r.all.Map().All() {
			look = append(look, i)
		}
		denied = divide(look)
	} else {
		for name := range r.pending { // none of these was denied
			i, _ := r.all.Get(name)
			look = append(look, i)
		}
	}
	pending := map[desired.Name]bool{}
	for _, i := range look {
		is := b.judge(i, denied)
		if is.pending {
			pending[i.source.Name] = true
		}
		if is != i.ruling {
			b.remake(i, is)
		}
	}
	r.pending = pending
}

// judge says what becomes of the rules of an Ingress.
func (b *builder) judge(i *ingress, denied map[*waf.Rules]string) ruling {
	is := ruling{denied: denied[i.checks]}
	if is.denied != "" {
		return is
	}
	if b.config.Rules == nil {
		b.config.compiler().Await(i.checks)
	}
	if !i.checks.Ready() && i.checks.Err() == nil {
		b.config.compiler().Start(i.checks)
		is.pending, is.former = true, i.ruling.former
		if err := i.checks.Trouble(); err != nil {
			is.trouble = err.Error()
		}
	}
	if err := i.checks.Err(); err != nil {
		is = ruling{wrong: err.Error()}
	}
	return is
}

// remake makes an Ingress anew for what becomes of its rules.
func (b *builder) remake(i *ingress, is ruling) {
	b.replace(i.source.Name, i, readIngress(i.source, i.standing, &b.config, is))
}

// divide gives the places for texts of Ingresses' own to the namespaces in turn, each
// time to the text whose oldest Ingress is the oldest: so each namespace that wants many
// has as many as the others, and none that wants few has less than it wants. It returns
// why the others get none.
func divide(all []*ingress) map[*waf.Rules]string {
	type text struct {
		by   *ingress
		turn int
	}
	all = slices.Clone(all)
	slices.SortFunc(all, func(a, b *ingress) int { return a.source.Compare(b.source) })
	var texts []text
	seen, turns, denied := map[*waf.Rules]bool{}, map[string]int{}, map[*waf.Rules]string{}
	for _, i := range all {
		if !i.checks.Own() || seen[i.checks] {
			continue
		}
		seen[i.checks] = true
		namespace := i.source.Name.Namespace
		if turns[namespace]++; turns[namespace] > waf.MaxOwn {
			denied[i.checks] = fmt.Sprintf("older Ingresses of namespace %s have %d distinct texts of rules, as many as it may have", namespace, waf.MaxOwn)
			continue
		}
		texts = append(texts, text{i, turns[namespace]})
	}
	slices.SortStableFunc(texts, func(a, b text) int { return a.turn - b.turn })
	for _, t := range texts[min(len(texts), waf.MaxSets):] {
		denied[t.by.checks] = fmt.Sprintf("there are more than %d distinct texts of rules, of which namespace %s has its share", waf.MaxSets, t.by.source.Name.Namespace)
	}
	return denied
}
