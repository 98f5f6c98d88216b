package acme

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"
)

// Failure is what is known of attempts that failed, one after the other.
type Failure struct {
	// Want is a digest of what was tried; of another attempt it says nothing.
	Want string `json:"want,omitempty"`
	// Count is how many there were, and Next the earliest time of another.
	Count int       `json:"count"`
	Next  time.Time `json:"next"`
	// Message says what was wrong with the last one, and what to do.
	Message string `json:"message"`
}

// Ledger is what must not be forgotten of the orders of one namespace. It is never
// changed.
type Ledger struct {
	// Orders are the times of those of the last hour.
	Orders []time.Time `json:"orders,omitempty"`
	// Failures are by the names of Secrets.
	Failures map[string]Failure `json:"failures,omitempty"`
}

// keyLedger is where a Secret has a Ledger, as JSON.
const keyLedger = "state.json"

// parseLedger reads what text returned.
func parseLedger(text []byte) (Ledger, error) {
	var l Ledger
	if len(text) == 0 {
		return l, nil
	}
	if err := json.Unmarshal(text, &l); err != nil {
		return Ledger{}, fmt.Errorf("%s is not what Fairlead writes: %w", keyLedger, err)
	}
	for name, f := range l.Failures {
		f.Count, f.Message = min(max(f.Count, 1), 1000), cut(f.Message)
		l.Failures[name] = f
	}
	return l, nil
}

func (l Ledger) text() []byte {
	text, err := json.Marshal(l)
	if err != nil {
		panic(err) // strings, numbers and times have JSON
	}
	return text
}

// recent are the orders of the hour before now.
func (l Ledger) recent(now time.Time) []time.Time {
	return slices.DeleteFunc(slices.Clone(l.Orders), func(t time.Time) bool { return !t.After(now.Add(-time.Hour)) })
}

// began notes that an order begins, as a failure until it has succeeded: what ends the
// process must not have it ordered again at once.
func (l Ledger) began(secret, want string, now time.Time) Ledger {
	count, message := 1, "the last order was interrupted"
	if f, ok := l.Failures[secret]; ok && f.Want == want {
		count, message = f.Count+1, f.Message
	}
	l.Orders = append(l.recent(now), now)
	return l.with(secret, Failure{Want: want, Count: count, Next: now.Add(pause(count)), Message: message})
}

// failed says why an order that began did not succeed; after is how long the
// authority wants to be left alone.
func (l Ledger) failed(secret, message string, now time.Time, after time.Duration) Ledger {
	f := l.Failures[secret]
	f.Count = max(f.Count, 1)
	f.Message, f.Next = cut(message), now.Add(max(pause(f.Count), after))
	return l.with(secret, f)
}

// forgiven takes back what began noted: it was no fault of the order.
func (l Ledger) forgiven(secret string, before Ledger) Ledger {
	if f, ok := before.Failures[secret]; ok {
		return l.with(secret, f)
	}
	return l.succeeded(secret)
}

func (l Ledger) succeeded(secret string) Ledger {
	l.Failures = maps.Clone(l.Failures)
	delete(l.Failures, secret)
	return l
}

// with notes a failure. Of too many, those go that are over first.
func (l Ledger) with(secret string, f Failure) Ledger {
	failures := maps.Clone(l.Failures)
	if failures == nil {
		failures = map[string]Failure{}
	}
	failures[secret] = f
	for len(failures) > maxFailures {
		first := secret
		for name, other := range failures {
			if first == secret || other.Next.Before(failures[first].Next) {
				first = name
			}
		}
		delete(failures, first)
	}
	l.Failures = failures
	return l
}

// pruned forgets what is said of Secrets that nobody wants any more.
func (l Ledger) pruned(wanted func(secret string) bool) Ledger {
	all := true
	for name := range l.Failures {
		all = all && wanted(name)
	}
	if all {
		return l
	}
	l.Failures = maps.Clone(l.Failures)
	maps.DeleteFunc(l.Failures, func(name string, _ Failure) bool { return !wanted(name) })
	return l
}

// pause is how long to wait after so many failures: at most five attempts in the
// first hour, as Let's Encrypt has it for a host, then ever fewer.
func pause(count int) time.Duration {
	wait := minAgain * time.Second
	for range min(count-1, 20) {
		wait *= 2
	}
	return min(wait, maxAgain*time.Second)
}

// digest tells what is ordered, and how.
func digest(c Config, want Want) string {
	h := sha256.New()
	fmt.Fprintf(h, "%q %q %q %q %q", c.Server, c.Challenge, c.Profile, c.Webhook.URL, c.EAB.KeyID)
	for _, host := range want.Hosts {
		_, _ = io.WriteString(h, " "+host)
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// cut bounds a text of others.
func cut(text string) string {
	if len(text) <= maxText {
		return text
	}
	return text[:maxText] + "…"
}
