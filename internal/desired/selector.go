package desired

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// Selector is a label selector as Kubernetes objects have it. The zero Selector
// matches nothing.
type Selector struct{ selector labels.Selector }

// ParseSelector reads a selector as kubectl's --selector takes it. The empty text
// matches everything.
func ParseSelector(text string) (Selector, error) {
	selector, err := labels.Parse(text)
	if err != nil {
		return Selector{}, err
	}
	return Selector{selector}, nil
}

// Matches tells whether labels are as the selector asks.
func (s Selector) Matches(of map[string]string) bool {
	return s.selector != nil && s.selector.Matches(labels.Set(of))
}

// String returns the selector as kubectl's --selector takes it.
func (s Selector) String() string {
	if s.selector == nil {
		return ""
	}
	return s.selector.String()
}

// MarshalText writes what String returns.
func (s Selector) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Selectors are alternatives: one that matches is enough.
type Selectors []Selector

// Match tells whether labels are as one of them asks, or there are none.
func (s Selectors) Match(of map[string]string) bool {
	for _, one := range s {
		if one.Matches(of) {
			return true
		}
	}
	return len(s) == 0
}

// parseSelectors reads the selectors in a field. One that cannot be read matches
// nothing, so that what it restricts is not opened to all.
func parseSelectors(of []metav1.LabelSelector, field string, r *reasons) Selectors {
	var parsed Selectors
	for i := range of {
		selector, err := metav1.LabelSelectorAsSelector(&of[i])
		if err != nil {
			r.add("SelectorInvalid", "%s[%d]: %v; it matches nothing", field, i, err)
		}
		parsed = append(parsed, Selector{selector})
	}
	return parsed
}
