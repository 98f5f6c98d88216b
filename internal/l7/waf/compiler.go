package waf

import (
	"fmt"
	"sync"
	"time"
	"weak"
)

// MaxSets bounds the distinct texts of Ingresses' own that there are places for, MaxOwn
// those of one namespace: with the core rule set each takes some MB.
const (
	MaxSets = 64
	MaxOwn  = 8
)

const (
	// maxWaiting bounds the texts of a namespace that wait: those that it may have, and as
	// many of another Table.
	maxWaiting = 2 * MaxOwn
	// firstPause and lastPause are between two attempts.
	firstPause, lastPause = time.Second, 5 * time.Minute
)

// Compiler compiles each distinct text once, as long as somebody has its Rules, one at a
// time and in the background, the namespaces taking turns. Its methods may be called at
// any time.
type Compiler struct {
	// Run runs what compiles, which returns when nothing waits any more; nil: in a
	// goroutine. It is called with a lock held, so it must not call what it is given.
	Run func(work func())

	// build and after are those of this package and of time, but for tests.
	build func(*Rules) *built
	after func(time.Duration, func())

	mu   sync.Mutex
	sets map[set]weak.Pointer[Rules]
	// sweep is at how many sets those are looked for that nobody has any more.
	sweep int
	// waiting are Rules by namespace, the latest last; turns are the namespaces of those,
	// whose turn it is next first.
	waiting map[string][]weak.Pointer[Rules]
	turns   []string
	// working: there is a goroutine that compiles. changed is closed at the next change.
	working bool
	changed chan struct{}
}

// set is a text, and whose it is: what one namespace writes is not another's.
type set struct {
	namespace string
	wanted    Wanted
}

// stage is where Rules are on their way.
type stage uint8

const (
	idle    stage = iota
	queued        // in Compiler.waiting
	running       // being compiled
	paused        // until the next attempt
	done
)

// Shared is the one of the process, whose Rules all Tables share.
var Shared = sync.OnceValue(NewCompiler)

// NewCompiler returns one that has compiled nothing.
func NewCompiler() *Compiler {
	return &Compiler{
		build: build, after: func(d time.Duration, f func()) { time.AfterFunc(d, f) },
		sets: map[set]weak.Pointer[Rules]{}, waiting: map[string][]weak.Pointer[Rules]{}, changed: make(chan struct{}),
	}
}

// Read returns the Rules of a namespace: the same ones for the same text, as long as
// somebody has them. The error says what is wrong with a text, and in which line; what
// only Coraza sees Rules.Err says once they are compiled.
func (c *Compiler) Read(namespace string, want Wanted) (*Rules, error) {
	if want.Own == "" {
		namespace = ""
	}
	key := set{namespace, want}
	c.mu.Lock()
	defer c.mu.Unlock()
	if r := c.sets[key].Value(); r != nil {
		return r, nil
	}
	r, err := read(namespace, want)
	if err != nil {
		return nil, err
	}
	if len(c.sets) >= c.sweep {
		for key, pointer := range c.sets {
			if pointer.Value() == nil {
				delete(c.sets, key)
			}
		}
		c.sweep = 2*len(c.sets) + MaxSets
	}
	c.sets[key] = weak.Make(r)
	return r, nil
}

// Compile returns Rules that are ready. The error is that of Read, or the Rules' own.
func (c *Compiler) Compile(namespace string, want Wanted) (*Rules, error) {
	r, err := c.Read(namespace, want)
	if err != nil {
		return nil, err
	}
	c.Await(r)
	if r.Ready() {
		return r, nil
	}
	if err = r.Err(); err == nil {
		err = r.Trouble()
	}
	return nil, err
}

// Await has Rules compiled and waits until that has been tried.
func (c *Compiler) Await(r *Rules) {
	for {
		changed := c.Changed()
		if r.built.Load() != nil || r.trouble.Load() != nil {
			return
		}
		c.Start(r)
		<-changed
	}
}

// Start has Rules compiled in the background, unless they are, or wait for that. Who has
// more than maxWaiting of them loses those that have waited longest: start them again with
// the next change.
func (c *Compiler) Start(r *Rules) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if r.stage != idle {
		return
	}
	r.stage = queued
	list := c.waiting[r.namespace]
	if len(list) == 0 {
		c.turns = append(c.turns, r.namespace)
	}
	if len(list) == maxWaiting {
		if lost := list[0].Value(); lost != nil {
			lost.stage = idle
		}
		list = list[1:]
	}
	c.waiting[r.namespace] = append(list, weak.Make(r))
	if !c.working {
		c.working = true
		if c.Run == nil {
			go c.work()
		} else {
			c.Run(c.work)
		}
	}
}

// Changed returns what is closed once Rules have been compiled, or could not be.
func (c *Compiler) Changed() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.changed
}

// Idle reports whether nothing is being compiled, nor waits for it.
func (c *Compiler) Idle() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.working
}

// work compiles what waits until nothing does.
func (c *Compiler) work() {
	for r := c.next(); r != nil; r = c.next() {
		b, err := c.try(r)
		c.settle(r, b, err)
	}
}

// next returns the latest Rules of the namespace whose turn it is that somebody still
// has. If there are none, nobody works any more.
func (c *Compiler) next() *Rules {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.turns) > 0 {
		namespace := c.turns[0]
		list := c.waiting[namespace]
		r := list[len(list)-1].Value()
		list = list[:len(list)-1]
		c.turns = c.turns[1:]
		if len(list) > 0 {
			c.turns = append(c.turns, namespace)
			c.waiting[namespace] = list
		} else {
			delete(c.waiting, namespace)
		}
		if r != nil {
			r.stage = running
			return r
		}
	}
	c.turns, c.working = nil, false
	return nil
}

// try compiles Rules. The error is no fault of the text's that is known.
func (c *Compiler) try(r *Rules) (b *built, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("the compilation panicked: %s", short(fmt.Sprint(v)))
		}
	}()
	return c.build(r), nil
}

// settle notes what became of Rules, and has another attempt made where nothing did.
func (c *Compiler) settle(r *Rules, b *built, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil {
		r.stage = done
		r.built.Store(b)
	} else {
		r.stage = paused
		r.trouble.Store(&err)
		pause := min(firstPause<<min(r.tries, 10), lastPause)
		r.tries++
		again := weak.Make(r)
		c.after(pause, func() {
			if r := again.Value(); r != nil {
				c.resume(r)
			}
		})
	}
	close(c.changed)
	c.changed = make(chan struct{})
}

// resume has Rules compiled again after a pause.
func (c *Compiler) resume(r *Rules) {
	c.mu.Lock()
	r.stage = idle
	c.mu.Unlock()
	c.Start(r)
}
