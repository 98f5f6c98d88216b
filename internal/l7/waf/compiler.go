package waf

import (
	"fmt"
	"runtime"
	"sync"
	"weak"
)

// MaxSets bounds the distinct rules there are at a time, MaxOwn those with a text of an
// Ingress's own for one namespace: with the core rule set each takes some MB.
const (
	MaxSets = 64
	MaxOwn  = 8
)

// Compiler compiles each distinct text once, as long as somebody has its Rules. Its
// methods may be called at any time.
type Compiler struct {
	mu   sync.Mutex
	sets map[set]weak.Pointer[Rules]
	// refused is what was wrong, of as many texts.
	refused map[set]error
}

// set is a text, and whose it is: what one namespace writes is not another's.
type set struct {
	namespace string
	wanted    Wanted
}

// Shared is the one of the process, whose Rules all Tables share.
var Shared = sync.OnceValue(NewCompiler)

// NewCompiler returns one that has compiled nothing.
func NewCompiler() *Compiler {
	return &Compiler{sets: map[set]weak.Pointer[Rules]{}, refused: map[set]error{}}
}

// Compile returns the Rules of a namespace. The error says what is wrong with its text,
// and in which line, or that there are too many.
func (c *Compiler) Compile(namespace string, want Wanted) (*Rules, error) {
	key := set{namespace, want}
	if want.Own == "" {
		key.namespace = ""
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if r := c.sets[key].Value(); r != nil {
		return r, nil
	}
	if err := c.refused[key]; err != nil {
		return nil, err
	}
	if err := c.room(key.namespace); err != nil {
		runtime.GC() // Rules that nobody has are there until then
		if err = c.room(key.namespace); err != nil {
			return nil, err
		}
	}
	r, err := compile(want)
	if err != nil {
		if len(c.refused) >= MaxSets {
			clear(c.refused)
		}
		c.refused[key] = err
		return nil, err
	}
	c.sets[key] = weak.Make(r)
	return r, nil
}

// room reports, as an error, that a namespace gets no more. While a text is changed, who
// serves by the one before still has that: there may be twice as many for so long.
func (c *Compiler) room(namespace string) error {
	own := 0
	for key, pointer := range c.sets {
		if pointer.Value() == nil {
			delete(c.sets, key)
		} else if key.namespace == namespace {
			own++
		}
	}
	switch {
	case namespace == "":
		return nil // there are few of them
	case own >= 2*MaxOwn:
		return fmt.Errorf("namespace %s has %d distinct texts of rules already, as many as it may have", namespace, own)
	case len(c.sets) >= 2*MaxSets:
		return fmt.Errorf("there are %d distinct texts of rules already, as many as may be", len(c.sets))
	}
	return nil
}
