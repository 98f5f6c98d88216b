//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// ledger follows what Services have, in the order in which the API server took it,
// and what pools offer.
type ledger struct {
	mu       sync.Mutex
	services map[string]entry
	pools    []offer
	wrong    []string
	// history is every state of each Service, for whoever has to explain what is wrong.
	history map[string][]entry
	// given and lost count addresses, events what was seen. Of those lost, asked are
	// lost as their Services ask for something else, offered as no pool has them, and
	// together as the one of the other family was.
	given, lost, events, asked, offered, together int
}

// entry is a Service as it was seen last.
type entry struct {
	asked     string // all of it that its addresses depend on
	dual      bool   // it has an address of each family or none
	key       string // by which it shares
	ports     []int32
	addresses []netip.Addr
	// changed tells that it asks for something else than when it got its addresses.
	changed bool
	at      time.Time
}

// offer is what all pools together have from a time on; while they are changed, what
// they have both before and after.
type offer struct {
	from time.Time
	both [2][]addressRange
}

type addressRange struct{ first, last netip.Addr }

func (r addressRange) contains(a netip.Addr) bool {
	return a.BitLen() == r.first.BitLen() && !a.Less(r.first) && !r.last.Less(a)
}

// follow watches Services with a label until ctx ends.
func (l *ledger) follow(ctx context.Context, t *testing.T, client kubernetes.Interface, namespace, label string) {
	options := metav1.ListOptions{LabelSelector: label}
	list, err := client.CoreV1().Services(namespace).List(ctx, options)
	if err != nil {
		t.Fatal(err)
	}
	options.ResourceVersion = list.ResourceVersion
	for ctx.Err() == nil {
		w, err := client.CoreV1().Services(namespace).Watch(ctx, options)
		if err != nil {
			if ctx.Err() == nil {
				l.add("the watch ended: " + err.Error())
			}
			return
		}
		for event := range w.ResultChan() {
			s, ok := event.Object.(*corev1.Service)
			switch {
			case !ok && ctx.Err() != nil:
				return
			case !ok:
				l.add(fmt.Sprintf("the watch ended: %v", event.Object))
				return
			}
			options.ResourceVersion = s.ResourceVersion
			l.take(s, event.Type == "DELETED")
		}
	}
}

func (l *ledger) add(wrong string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.wrong = append(l.wrong, wrong)
}

// offers notes what pools have from now on.
func (l *ledger) offers(before, after []addressRange) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pools = append(l.pools, offer{time.Now(), [2][]addressRange{before, after}})
}

// take takes in how a Service is now.
func (l *ledger) take(s *corev1.Service, gone bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events++
	if gone {
		delete(l.services, s.Name)
		delete(l.history, s.Name)
		return
	}
	before, known := l.services[s.Name]
	now := entry{
		asked: fmt.Sprint(s.Spec.Type, s.Annotations, s.Spec.IPFamilies, s.Spec.Ports[0].Port), key: s.Annotations[shareKey],
		ports: []int32{s.Spec.Ports[0].Port}, at: time.Now(), changed: before.changed,
		dual: s.Spec.IPFamilyPolicy != nil && *s.Spec.IPFamilyPolicy == corev1.IPFamilyPolicyRequireDualStack,
	}
	for _, i := range s.Status.LoadBalancer.Ingress {
		now.addresses = append(now.addresses, netip.MustParseAddr(i.IP))
	}
	if known && now.asked != before.asked {
		now.changed = true
		// Who shared an address with it may be the one that loses it, being younger.
		for name, other := range l.services {
			if slices.ContainsFunc(other.addresses, func(a netip.Addr) bool { return slices.Contains(before.addresses, a) }) {
				other.changed = true
				l.services[name] = other
			}
		}
	}
	conflict := false
	for _, a := range now.addresses {
		if slices.Contains(before.addresses, a) {
			// Who shares it no longer may, because one of them asks for something else,
			// loses it soon, and is not judged for it, whatever else it gets before.
			conflict = conflict || l.disputed(a, s.Name, now)
			continue
		}
		l.given++
		now.changed = false
		for name, other := range l.services {
			switch {
			case name == s.Name || !slices.Contains(other.addresses, a) || now.shares(other):
			case other.changed:
				// Fairlead did not know of that change yet; the younger of the two loses
				// the address as soon as it does.
				conflict = true
			default:
				l.wrong = append(l.wrong, fmt.Sprintf("%s is of %s (%s) and of %s (%s)", a, name, other.asked, s.Name, now.asked))
			}
		}
	}
	now.changed = now.changed || conflict
	if l.history == nil {
		l.history = map[string][]entry{}
	}
	l.history[s.Name] = append(l.history[s.Name], now)
	l.loses(s.Name, before, now)
	l.services[s.Name] = now
}

// disputed tells whether somebody else has an address too and cannot share it.
func (l *ledger) disputed(a netip.Addr, name string, now entry) bool {
	for with, other := range l.services {
		if with != name && slices.Contains(other.addresses, a) && !now.shares(other) {
			return true
		}
	}
	return false
}

// loses judges the addresses that a Service had and has no longer.
func (l *ledger) loses(name string, before, now entry) {
	var lost []netip.Addr
	other := now.dual && len(now.addresses) == 0 && len(before.addresses) == 1 // was judged when it went
	for _, a := range before.addresses {
		if slices.Contains(now.addresses, a) {
			continue
		}
		l.lost++
		switch {
		case before.changed || now.changed || now.asked != before.asked:
			l.asked++
		case l.alwaysOffered(a, before.at):
			lost = append(lost, a)
		default:
			l.offered++
			other = other || now.dual && len(now.addresses) == 0
		}
	}
	switch {
	case len(lost) == 0:
	case other:
		l.together += len(lost)
	default:
		l.wrong = append(l.wrong, fmt.Sprintf("%s had %v and lost %v, which pools had all the time, though it asked for nothing else (%s)%s", name, before.addresses, lost, now.asked, l.story(name, lost)))
	}
}

// story tells what became of a Service, of those it shared its addresses with, and
// which pools had what it lost.
func (l *ledger) story(name string, lost []netip.Addr) string {
	var lines []string
	say := func(at time.Time, format string, args ...any) {
		lines = append(lines, fmt.Sprintf("\n  %s ", at.Format("15:04:05.000"))+fmt.Sprintf(format, args...))
	}
	for other, states := range l.history {
		shared := slices.ContainsFunc(states, func(e entry) bool {
			return slices.ContainsFunc(e.addresses, func(a netip.Addr) bool { return slices.Contains(lost, a) })
		})
		for _, e := range states {
			if other == name || shared {
				say(e.at, "%s has %v and asks for %s", other, e.addresses, e.asked)
			}
		}
	}
	for _, o := range l.pools {
		say(o.from, "pools have %v, before %v", o.both[1], o.both[0])
	}
	slices.Sort(lines)
	return strings.Join(lines, "")
}

func (e entry) shares(other entry) bool {
	return e.key != "" && e.key == other.key && !slices.ContainsFunc(e.ports, func(p int32) bool { return slices.Contains(other.ports, p) })
}

// stale is how old what Fairlead knows of pools may be when it writes a status: a
// watch's delay, and that of a process which waits for a processor.
const stale = 3 * time.Second

// alwaysOffered tells whether pools have had an address ever since, or since a moment
// before that Fairlead may have seen last.
func (l *ledger) alwaysOffered(a netip.Addr, since time.Time) bool {
	for i, o := range l.pools {
		if i+1 < len(l.pools) && l.pools[i+1].from.Add(stale).Before(since) {
			continue // the next one counted before that
		}
		for _, ranges := range o.both {
			if !slices.ContainsFunc(ranges, func(r addressRange) bool { return r.contains(a) }) {
				return false
			}
		}
	}
	return true
}

// have returns the addresses of each Service that there is.
func (l *ledger) have() map[string]entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := map[string]entry{}
	for name, e := range l.services {
		all[name] = e
	}
	return all
}

// check fails the test if anything was wrong, or too little was seen.
func (l *ledger) check(t *testing.T, steps int) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	t.Logf("%d steps, %d states of Services seen, %d addresses given, %d lost (%d as something else was asked for, %d as no pool had them, %d as that of the other family was), %d times pools changed",
		steps, l.events, l.given, l.lost, l.asked, l.offered, l.together, len(l.pools)/2)
	if len(l.wrong) > 0 {
		t.Errorf("%d times:\n%s", len(l.wrong), strings.Join(l.wrong[:min(20, len(l.wrong))], "\n"))
	}
	if l.given < steps/20 || l.lost < steps/100 {
		t.Error("hardly anything was tested")
	}
}
