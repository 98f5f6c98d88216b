package proxy

import "sync"

const (
	// maxDecisions bounds the answers about who is let in that are kept, with their names,
	// in octets; maxDecision each one.
	maxDecisions = 16 << 20
	maxDecision  = 16 << 10
	// decisionSize is what an answer takes beside its texts.
	decisionSize = 256
)

// decisions keeps answers about who is let in, those of each namespace apart: where there
// is no more room, the namespace with the most gives some up, so that none can drive out
// those of another which has less.
type decisions struct {
	mu   sync.Mutex
	size int
	of   map[string]*decided
}

// decided are the answers of one namespace.
type decided struct {
	size  int
	known map[string]*decision
}

// get returns what is known under a name; nil if nothing is any more.
func (d *decisions) get(namespace, name string, now int64) *decision {
	d.mu.Lock()
	defer d.mu.Unlock()
	own := d.of[namespace]
	if own == nil {
		return nil
	}
	known := own.known[name]
	if known != nil && known.until <= now {
		d.drop(namespace, own, name)
		return nil
	}
	return known
}

// put keeps an answer, in place of others if there is no room.
func (d *decisions) put(namespace, name string, made *decision) {
	if sizeOf(name, made) > maxDecision {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	own := d.of[namespace]
	if own == nil {
		own = &decided{known: map[string]*decision{}}
		d.of[namespace] = own
	}
	if own.known[name] != nil {
		d.drop(namespace, own, name)
		d.of[namespace] = own
	}
	own.known[name] = made
	own.size += sizeOf(name, made)
	d.size += sizeOf(name, made)
	for d.size > maxDecisions {
		d.shrink()
	}
}

// shrink drops any answer of the namespace that has the most.
func (d *decisions) shrink() {
	most, whose := (*decided)(nil), ""
	for namespace, other := range d.of {
		if most == nil || other.size > most.size {
			most, whose = other, namespace
		}
	}
	for name := range most.known { // in no order
		d.drop(whose, most, name)
		return
	}
}

// drop forgets an answer, which is there.
func (d *decisions) drop(namespace string, own *decided, name string) {
	size := sizeOf(name, own.known[name])
	delete(own.known, name)
	own.size -= size
	d.size -= size
	if len(own.known) == 0 {
		delete(d.of, namespace)
	}
}

func sizeOf(name string, d *decision) int {
	n := decisionSize + len(name) + len(d.challenge)
	for _, f := range d.fields {
		n += len(f.Name) + len(f.Value) + decisionSize/4
	}
	for _, c := range d.cookies {
		n += len(c) + decisionSize/4
	}
	return n
}
