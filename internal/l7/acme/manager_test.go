package acme

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	networkingv1 "k8s.io/api/networking/v1"

	rfc8555 "github.com/mholt/acmez/v3/acme"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/l7"
)

// in runs a test in which time passes only when nothing else happens.
func in(t *testing.T, test func(t *testing.T)) { synctest.Test(t, test) }

// TestRenewsAtTwoThirds: each certificate after 60 of its 90 days, and no other order.
func TestRenewsAtTwoThirds(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t, asks("demo", "shop", "shop.example.com"))
		time.Sleep(130 * 24 * time.Hour)
		if got, want := w.orders(), "0s demo/shop; 1440h0m0s demo/shop; 2880h0m0s demo/shop"; got != want {
			t.Errorf("%s, want %s", got, want)
		}
		if w.said() != "" {
			t.Error(w.said())
		}
	})
}

// TestFailuresAreFewer: at most five attempts in the first hour, then fewer, and a new
// process goes on where the last one was.
func TestFailuresAreFewer(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t)
		w.answer = func(Want) (time.Duration, error) {
			return 0, challengeError{"shop.example.com", HTTP01, rfc8555.Problem{Type: rfc8555.ProblemTypeConnection, Detail: "timeout"}}
		}
		shop := asks("demo", "shop", "shop.example.com")
		w.Offer(testTable(shop))
		time.Sleep(20 * time.Minute)
		for range 5 {
			w.stop()
			w.lead(t, shop)
		}
		time.Sleep(40 * time.Minute)
		if got, want := w.orders(), "1s demo/shop; 5m1s demo/shop; 15m1s demo/shop; 35m1s demo/shop"; got != want {
			t.Errorf("%s, want %s", got, want)
		}
		want := "Ingress demo/shop: CertificateNotIssued: Secret demo/shop for shop.example.com: https://ca.example.com/dir could not verify shop.example.com by http-01: timeout (connection); let the host's DNS name lead to the gateway, and the Internet reach its port 80; there is no certificate, and it is tried again at 2000-01-01 01:15 UTC"
		if w.said() != want {
			t.Errorf("%s\nwant %s", w.said(), want)
		}
		time.Sleep(30 * 24 * time.Hour)
		if n := strings.Count(w.orders(), ";"); n > 45 {
			t.Errorf("%d orders in a month", n)
		}
		// What was tried is no longer what is wanted.
		before := w.orders()
		w.Offer(testTable(asks("demo", "shop", "shop.example.org")))
		time.Sleep(10 * time.Second)
		if w.orders() == before {
			t.Error("another host is not ordered at once")
		}
	})
}

// TestAskedAgain: who takes his wish back and has it again is not made to wait.
func TestAskedAgain(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t)
		w.answer = func(Want) (time.Duration, error) { return 0, errors.New("no") }
		shop := asks("demo", "shop", "shop.example.com")
		w.Offer(testTable(shop))
		time.Sleep(time.Minute)
		w.Offer(testTable())
		time.Sleep(time.Minute)
		if w.said() != "" {
			t.Error(w.said())
		}
		w.Offer(testTable(shop))
		time.Sleep(time.Minute)
		if got, want := w.orders(), "1s demo/shop; 2m1s demo/shop"; got != want {
			t.Errorf("%s, want %s", got, want)
		}
	})
}

// TestPatience: the authority says when to come again.
func TestPatience(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t)
		w.answer = func(want Want) (time.Duration, error) {
			return 3 * 24 * time.Hour, ofAuthority(rfc8555.Problem{Type: rfc8555.ProblemTypeRateLimited, Status: 429, Detail: "too many certificates for example.com"})
		}
		w.Offer(testTable(asks("demo", "shop", "shop.example.com")))
		time.Sleep(73 * time.Hour)
		if got, want := w.orders(), "1s demo/shop; 72h0m1s demo/shop"; got != want {
			t.Errorf("%s, want %s", got, want)
		}
	})
}

// TestInterrupted: a process that ends while it orders does not make the next one order
// at once.
func TestInterrupted(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t)
		release := make(chan struct{})
		w.answer = func(Want) (time.Duration, error) { <-release; return 0, errors.New("too late") }
		shop := asks("demo", "shop", "shop.example.com")
		w.Offer(testTable(shop))
		time.Sleep(10 * time.Second)
		go func() { time.Sleep(time.Second); close(release) }()
		w.stop()
		w.answer = nil
		w.lead(t, shop)
		time.Sleep(10 * time.Second)
		if got := w.said(); !strings.Contains(got, "the last order was interrupted") {
			t.Error(got)
		}
		time.Sleep(10 * time.Minute)
		if got, want := w.orders(), "1s demo/shop; 5m1s demo/shop"; got != want {
			t.Errorf("%s, want %s", got, want)
		}
	})
}

// TestAuthorityAway: all wait for it as one, and no Ingress pays for it later.
func TestAuthorityAway(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t)
		w.answer = func(Want) (time.Duration, error) { return 0, errAway }
		var all []*networkingv1.Ingress
		for n := range 20 {
			all = append(all, asks(fmt.Sprint("ns", n), "shop", fmt.Sprint(n, ".example.com")))
		}
		w.Offer(testTable(all...))
		time.Sleep(time.Hour)
		// After 0, 1, 3, 7, 15 and 31 minutes, as many as are ordered at a time.
		if n := strings.Count(w.orders(), ";") + 1; n != 6*maxOrders {
			t.Errorf("%d orders: %s", n, w.orders())
		}
		if n := strings.Count(w.said(), "CertificateAuthorityUnavailable"); n != 20 {
			t.Errorf("said at %d Ingresses: %s", n, w.said())
		}
		w.mu.Lock()
		w.answer = nil
		w.mu.Unlock()
		time.Sleep(time.Hour)
		if w.said() != "" {
			t.Error(w.said())
		}
	})
}

// TestForgiven: the authority's failure is none of the certificate's, whose own pauses
// would be longer.
func TestForgiven(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t)
		failures := 2
		w.answer = func(Want) (time.Duration, error) {
			if failures--; failures >= 0 {
				return 0, errAway
			}
			return 0, nil
		}
		w.Offer(testTable(asks("demo", "shop", "shop.example.com")))
		time.Sleep(time.Hour)
		if got, want := w.orders(), "1s demo/shop; 1m1s demo/shop; 3m1s demo/shop"; got != want || w.said() != "" {
			t.Errorf("%s, want %s; %s", got, want, w.said())
		}
	})
}

// TestNamespacesTakeTurns: who orders much waits, and is told; others do not.
func TestNamespacesTakeTurns(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t)
		w.answer = func(Want) (time.Duration, error) { time.Sleep(time.Minute); return 0, nil }
		var all []*networkingv1.Ingress
		for n := range 50 {
			all = append(all, asks("greedy", fmt.Sprint("shop", n), fmt.Sprint(n, ".example.com")))
		}
		all = append(all, asks("modest", "shop", "shop.example.org"))
		w.Offer(testTable(all...))
		time.Sleep(20 * time.Minute)
		orders := strings.Split(w.orders(), "; ")
		if len(orders) != 31 {
			t.Errorf("%d orders", len(orders))
		}
		if !strings.Contains(strings.Join(orders[:maxOrders], " "), "modest") {
			t.Errorf("the other namespace is not among the first: %s", orders[:maxOrders])
		}
		if n := strings.Count(w.said(), "namespace greedy has ordered 30 certificates within an hour"); n != 20 {
			t.Errorf("said %d times: %s", n, w.said())
		}
		time.Sleep(90 * time.Minute)
		if n := strings.Count(w.orders(), ";") + 1; n != 51 {
			t.Errorf("%d orders", n)
		}
	})
}

// TestLostSecret: a certificate that somebody deletes is ordered again, one that
// somebody replaces is his.
func TestLostSecret(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t, asks("demo", "shop", "shop.example.com"))
		time.Sleep(time.Hour)
		name := desired.Name{Namespace: "demo", Name: "shop"}
		w.store.mu.Lock()
		delete(w.store.all, name)
		w.store.mu.Unlock()
		w.Changed(name)
		time.Sleep(10 * time.Second)
		if got, want := w.orders(), "0s demo/shop; 1h0m1s demo/shop"; got != want {
			t.Errorf("%s, want %s", got, want)
		}
		w.store.mu.Lock()
		w.store.all[name] = Secret{Type: TypeTLS, Version: "theirs"}
		w.store.mu.Unlock()
		w.Changed(name)
		time.Sleep(100 * 24 * time.Hour)
		if n := strings.Count(w.orders(), ";"); n != 1 || !strings.Contains(w.said(), "SecretNotOurs") {
			t.Errorf("%s\n%s", w.orders(), w.said())
		}
	})
}

// TestFewReads: a change of one Ingress has no Secret of another read.
func TestFewReads(t *testing.T) {
	in(t, func(t *testing.T) {
		var all []*networkingv1.Ingress
		for n := range 10 {
			all = append(all, asks("demo", fmt.Sprint("shop", n), fmt.Sprint(n, ".example.com")))
		}
		w := newWorld(t, all...)
		time.Sleep(5 * time.Minute)
		before := w.store.reads()
		for n := range 10 {
			all[0] = asks("demo", "shop0", fmt.Sprint(n, ".example.org"))
			w.Offer(testTable(all...))
			time.Sleep(10 * time.Second)
		}
		// The one that is ordered again is read: to put it, to keep how it went, to see it.
		if n := w.store.reads() - before; n > 10*6 {
			t.Errorf("%d reads for 10 orders", n)
		}
		w.store.mu.Lock()
		delete(w.store.all, desired.Name{Namespace: "demo", Name: "shop7"})
		w.store.mu.Unlock()
		orders := w.orders()
		time.Sleep(11 * time.Minute)
		if got := w.orders(); !strings.HasSuffix(got, "demo/shop7") || strings.Count(got, ";") != strings.Count(orders, ";")+1 {
			t.Errorf("a loss of which nothing was said: %s", got[len(orders):])
		}
	})
}

// TestAnotherAuthority: another acme.server means other certificates; the old ones go
// on until then.
func TestAnotherAuthority(t *testing.T) {
	in(t, func(t *testing.T) {
		shop := asks("demo", "shop", "shop.example.com")
		w := newWorld(t, shop)
		time.Sleep(time.Minute)
		w.stop()
		w.config.Server = "https://other.example.com/dir"
		w.answer = func(Want) (time.Duration, error) { return 0, errAway }
		w.lead(t, shop)
		time.Sleep(10 * time.Second)
		if got := w.said(); !strings.Contains(got, "the old certificate goes on until 2000-03-31") {
			t.Error(got)
		}
		if got, want := w.orders(), "0s demo/shop; 1m0s demo/shop"; got != want {
			t.Errorf("%s, want %s", got, want)
		}
	})
}

// TestStoreAway: nothing is ordered that could not be kept.
func TestStoreAway(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t)
		w.store.mu.Lock()
		w.store.broken = errors.New("the API server is away")
		w.store.mu.Unlock()
		w.Offer(testTable(asks("demo", "shop", "shop.example.com")))
		time.Sleep(time.Hour)
		if w.orders() != "" {
			t.Error(w.orders())
		}
		w.store.mu.Lock()
		w.store.broken = nil
		w.store.mu.Unlock()
		time.Sleep(time.Minute)
		if w.orders() == "" {
			t.Error("nothing is ordered")
		}
	})
}

// TestNoTerms: without a word on the terms nothing is asked of anyone.
func TestNoTerms(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t)
		w.stop()
		w.config.AgreeToTerms = false
		w.lead(t, asks("demo", "shop", "shop.example.com"))
		time.Sleep(time.Hour)
		if w.orders() != "" || !strings.Contains(w.said(), "the administrator has not set acme.agreeToTerms") {
			t.Errorf("%s\n%s", w.orders(), w.said())
		}
		w.stop()
		if w.said() != "" {
			t.Error("who does not lead says something")
		}
	})
}

// TestAdvice: the authority wants a certificate to be renewed earlier, then says
// otherwise.
func TestAdvice(t *testing.T) {
	in(t, func(t *testing.T) {
		shop := asks("demo", "shop", "shop.example.com")
		w := newWorld(t)
		id := l7.CertificateID{Namespace: "demo", Name: "shop"}
		asked := 0
		w.advise = func(_ context.Context, ask []advised) map[l7.CertificateID]advised {
			asked++
			a := ask[0]
			a.renewAt, a.again = w.start.Add(24*time.Hour), time.Now().Add(6*time.Hour)
			if time.Since(w.start) > 24*time.Hour {
				a.renewAt = time.Time{}
			}
			return map[l7.CertificateID]advised{id: a}
		}
		w.Offer(testTable(shop))
		time.Sleep(30 * 24 * time.Hour)
		if got, want := w.orders(), "1s demo/shop; 24h0m0s demo/shop"; got != want {
			t.Errorf("%s, want %s", got, want)
		}
		w.stop()
		if asked < 100 || asked > 130 {
			t.Errorf("asked %d times in 30 days", asked)
		}
	})
}
