package pebble

import (
	"strings"
	"testing"
	"time"

	"github.com/letsencrypt/pebble/v2/db"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/l7/acme"
)

func hasOne(r acme.Report) bool {
	return len(r.Certificates) == 1 && !r.Certificates[0].NotAfter.IsZero() && len(r.Reasons) == 0
}

func isRefused(r acme.Report) bool { return len(r.Reasons) == 1 }

// TestEveryReplicaAnswers: the authority asks a replica that did not order the
// certificate and that learns of the challenge late; it is not asked before it knows.
func TestEveryReplicaAnswers(t *testing.T) {
	for _, challenge := range []acme.Challenge{acme.HTTP01, acme.TLSALPN01} {
		t.Run(string(challenge), func(t *testing.T) {
			s := newSecrets()
			first, second := newReplica(t).follow(t, s), newReplica(t)
			// Only the third question makes the second one look.
			second.before = func(n int64) {
				if n == 3 {
					second.read(t, s)
				}
			}
			a := newAuthority(t, second, challenge, option{})
			l := lead(t, a.config, s, first, second)
			l.until(t, "certificate", hasOne)
			certificate(t, s, a.roots, "shop.example.com", "www.shop.example.com")
			if second.asked.Load() < 4 {
				t.Errorf("the second replica was asked %d times", second.asked.Load())
			}
			if a.ordered() != 1 {
				t.Errorf("%d orders", a.ordered())
			}
			answers, _, _ := s.Get(t.Context(), desired.Name{Namespace: system, Name: acme.AnswersSecret})
			if len(answers.Data) != 0 {
				t.Errorf("answers remain: %v", answers.Data)
			}
		})
	}
}

// TestDNS01: a wildcard and its parent, whose two records have one name.
func TestDNS01(t *testing.T) {
	s := newSecrets()
	a := newAuthority(t, newReplica(t), acme.DNS01, option{})
	hook, url := newWebhook(t, a)
	a.config.Webhook = acme.Webhook{URL: url, Secret: "dns"}
	if err := s.Put(t.Context(), desired.Name{Namespace: system, Name: "dns"}, acme.Secret{Data: map[string][]byte{"token": []byte("let-me\n")}}); err != nil {
		t.Fatal(err)
	}
	l := lead(t, a.config, s)
	l.until(t, "certificate", hasOne)
	certificate(t, s, a.roots, "shop.example.com", "any.shop.example.com")
	hook.mu.Lock()
	defer hook.mu.Unlock()
	if hook.seen != 2 || len(hook.records) != 0 || len(hook.auth) != 1 || !hook.auth["Bearer let-me"] {
		t.Errorf("%+v", hook)
	}
}

// TestRenewal: another replica leads from now on, and learns that the authority wants
// the certificate to be renewed at once. It has the account of the one before.
func TestRenewal(t *testing.T) {
	s := newSecrets()
	r := newReplica(t).follow(t, s)
	a := newAuthority(t, r, acme.HTTP01, option{})
	l := lead(t, a.config, s, r)
	l.until(t, "certificate", hasOne)
	l.stop()
	first := certificate(t, s, a.roots, "shop.example.com")
	a.revoke(t, first)
	l = lead(t, a.config, s, r)
	l.until(t, "other certificate", func(report acme.Report) bool {
		return hasOne(report) && !report.Certificates[0].NotAfter.Equal(first.NotAfter)
	})
	second := certificate(t, s, a.roots, "shop.example.com", "www.shop.example.com")
	if second.Equal(first) || a.ordered() != 2 {
		t.Errorf("the same certificate after %d orders", a.ordered())
	}
	if order, err := a.db.GetOrderByIssuedSerial(a.db.GetCertificateByDER(first.Raw).ID); err != nil || !order.IsReplaced {
		t.Error("the authority was not told what is replaced")
	}
	accounts := 0
	for name := range s.all {
		if strings.HasPrefix(name.Name, "fairlead-acme-account-") {
			accounts++
		}
	}
	if accounts != 1 {
		t.Errorf("%d accounts", accounts)
	}
}

// TestBadNonces: the authority refuses half of all nonces, which is no failure.
func TestBadNonces(t *testing.T) {
	s := newSecrets()
	r := newReplica(t).follow(t, s)
	a := newAuthority(t, r, acme.HTTP01, option{badNonces: "50"})
	lead(t, a.config, s, r).until(t, "certificate", hasOne)
	certificate(t, s, a.roots, "shop.example.com")
}

// TestWrongHost: the name leads elsewhere, where another answer comes.
func TestWrongHost(t *testing.T) {
	s := newSecrets()
	r, other := newReplica(t).follow(t, s), newReplica(t)
	a := newAuthority(t, other, acme.HTTP01, option{})
	report := lead(t, a.config, s, r).until(t, "reason", isRefused)
	message := report.Reasons[0].Message
	for _, part := range []string{"shop.example.com", "could not verify", "unauthorized", "let its DNS name lead to the gateway only", "there is no certificate, and it is tried again at"} {
		if !strings.Contains(message, part) {
			t.Errorf("%q lacks %q", message, part)
		}
	}
	t.Log(message)
	if report.Reasons[0].Object.String() != "Ingress demo/shop" || report.Reasons[0].Code != "CertificateNotIssued" {
		t.Errorf("%+v", report.Reasons[0])
	}
	// Who leads next knows, and asks for nothing.
	lead(t, a.config, s, r).until(t, "reason again", func(r acme.Report) bool { return isRefused(r) && r.Reasons[0].Message == message })
	if a.ordered() != 1 {
		t.Errorf("%d orders", a.ordered())
	}
}

// TestNobodyAnswers: the authority is not asked to find out what the gateway knows.
func TestNobodyAnswers(t *testing.T) {
	s := newSecrets()
	deaf := newReplica(t)
	_ = deaf.http.Close()
	a := newAuthority(t, deaf, acme.HTTP01, option{})
	report := lead(t, a.config, s, deaf).until(t, "reason", isRefused)
	if !strings.Contains(report.Reasons[0].Message, "none of 1 replicas of the gateway answers") {
		t.Error(report.Reasons[0].Message)
	}
}

// TestBlockedHost: the authority's policy is against the name.
func TestBlockedHost(t *testing.T) {
	s := newSecrets()
	r := newReplica(t).follow(t, s)
	a := newAuthority(t, r, acme.HTTP01, option{blocked: "example.com"})
	report := lead(t, a.config, s, r).until(t, "reason", isRefused)
	if !strings.Contains(report.Reasons[0].Message, "rejectedIdentifier") || !strings.Contains(report.Reasons[0].Message, "remove it from spec.tls") {
		t.Error(report.Reasons[0].Message)
	}
}

// TestAway: it is said, and the authority left alone as long as it wants, also by the
// next to lead.
func TestAway(t *testing.T) {
	s := newSecrets()
	r := newReplica(t).follow(t, s)
	a := newAuthority(t, r, acme.HTTP01, option{})
	a.away = true
	l := lead(t, a.config, s, r)
	report := l.until(t, "reason", isRefused)
	if got := report.Reasons[0]; got.Code != "CertificateAuthorityUnavailable" || !strings.Contains(got.Message, "closed for today") {
		t.Errorf("%+v", got)
	}
	l.stop()
	a.mu.Lock()
	a.away = false
	a.mu.Unlock()
	again := lead(t, a.config, s, r).until(t, "reason again", isRefused)
	if again.Reasons[0] != report.Reasons[0] || a.ordered() != 0 {
		t.Errorf("%d orders, %+v", a.ordered(), again)
	}
	next := strings.TrimSuffix(report.Reasons[0].Message[strings.LastIndex(report.Reasons[0].Message, " at ")+4:], " UTC")
	if at, err := time.Parse("2006-01-02 15:04", next); err != nil || time.Until(at) < 110*time.Minute {
		t.Errorf("it is asked again at %s", next)
	}
}

// TestExternalAccount: the authority wants accounts that it knows by other means.
func TestExternalAccount(t *testing.T) {
	s := newSecrets()
	r := newReplica(t).follow(t, s)
	const key = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"
	a := newAuthority(t, r, acme.HTTP01, option{eab: map[string]string{"kid-1": key}})
	l := lead(t, a.config, s, r)
	report := l.until(t, "reason", isRefused)
	if !strings.Contains(report.Reasons[0].Message, "set acme.eab") {
		t.Error(report.Reasons[0].Message)
	}
	l.stop()
	s = newSecrets()
	r.follow(t, s)
	a.config.EAB = acme.EAB{KeyID: "kid-1", Secret: "eab"}
	if err := s.Put(t.Context(), desired.Name{Namespace: system, Name: "eab"}, acme.Secret{Data: map[string][]byte{"hmac": []byte(key)}}); err != nil {
		t.Fatal(err)
	}
	lead(t, a.config, s, r).until(t, "certificate", hasOne)
	certificate(t, s, a.roots, "shop.example.com")
}

// TestForgottenAccount: the authority knows nothing of what was before, and gets the
// account once more, by the same key.
func TestForgottenAccount(t *testing.T) {
	s := newSecrets()
	r := newReplica(t).follow(t, s)
	a := newAuthority(t, r, acme.HTTP01, option{})
	l := lead(t, a.config, s, r)
	l.until(t, "certificate", hasOne)
	l.stop()
	a.db = db.NewMemoryStore()
	a.begin()
	s.mu.Lock()
	delete(s.all, desired.Name{Namespace: "demo", Name: "shop-tls"})
	s.mu.Unlock()
	lead(t, a.config, s, r).until(t, "certificate", hasOne)
	certificate(t, s, a.roots, "shop.example.com")
}
