package acme

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	rfc8555 "github.com/mholt/acmez/v3/acme"

	"github.com/fairlead-net/fairlead/internal/desired"
)

// TestJudge holds what users read, and whether others have to wait too.
func TestJudge(t *testing.T) {
	problem := func(kind, detail string) error {
		return fmt.Errorf("attempt 1: https://ca/order: %w", rfc8555.Problem{Type: rfc8555.ProblemTypeNamespace + kind, Status: 403, Detail: detail})
	}
	// The library wraps a pointer, which may be nil, in one place.
	var none error = (*rfc8555.Problem)(nil)
	for _, c := range []struct {
		err  error
		how  outcome
		says string
	}{
		{nil, issued, ""},
		{challengeError{"*.example.com", DNS01, problem("unauthorized", "no TXT record")}, refused,
			"CA could not verify *.example.com by dns-01: no TXT record (unauthorized); see that the webhook's record is at all of the zone's name servers, or set acme.dnsWebhook.propagation"},
		{challengeError{"example.com", TLSALPN01, problem("connection", "refused")}, refused,
			"CA could not verify example.com by tls-alpn-01: refused (connection); let the host's DNS name lead to the gateway, and the Internet reach its port 443"},
		{ofAuthority(problem("rateLimited", "too many")), refused, "CA refuses: too many (rateLimited)"},
		{ofAuthority(problem("unauthorized", "account is deactivated")), unavailable,
			"CA refuses: account is deactivated (unauthorized); the account may be closed: delete its Secret, which begins with fairlead-acme-account-, and another one is made"},
		{ofAuthority(problem("caa", "CAA forbids")), refused, "CA refuses: CAA forbids (caa); allow the authority in the CAA record of the domain"},
		{ofAuthority(&rfc8555.Problem{Type: rfc8555.ProblemTypeServerInternal, Status: 500, Detail: "a\n\tlong\x7fstory"}), unavailable, "CA refuses: a long story (serverInternal)"},
		{ofAuthority(fmt.Errorf("final order is invalid: %w", none)), unavailable, "CA cannot be used: final order is invalid: <nil>; check that acme.server is right, and that it can be reached from the cluster"},
		{localError{errors.New("Secret a/b cannot be written")}, unavailable, "Secret a/b cannot be written"},
		{errors.New("the webhook answers with status 500"), refused, "the webhook answers with status 500"},
	} {
		how, says := judge(t.Context(), Config{Server: "CA", Challenge: HTTP01}, c.err)
		if how != c.how || says != c.says {
			t.Errorf("%v:\n got %s: %s\nwant %s: %s", c.err, how, says, c.how, c.says)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if how, _ := judge(ended, Config{}, errAway); how != interrupted {
		t.Error(how)
	}
	if _, says := judge(t.Context(), Config{}, ofAuthority(problem("caa", strings.Repeat("x", 1<<20)))); len(says) > 2*maxText {
		t.Errorf("%d bytes", len(says))
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for text, want := range map[string]time.Duration{
		"": 0, "120": 2 * time.Minute, "-1": 0, "soon": 0, "4294967295": maxPatience, "99999999999999": 0,
		"Fri, 02 Jan 2026 03:05:05 GMT": time.Minute, "Thu, 01 Jan 2026 03:05:05 GMT": 0, "Fri, 02 Jan 2099 03:05:05 GMT": maxPatience,
	} {
		if got := retryAfter(text, now); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}

// TestWebhook: credentials come from a Secret, and what the webhook says is passed on.
func TestWebhook(t *testing.T) {
	var got string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r.Method + " " + r.URL.Path + " " + r.Header.Get("Authorization")
		if r.URL.Path == "/hook/cleanup" {
			http.Error(w, "no such zone", http.StatusNotFound)
		}
	}))
	defer server.Close()
	m := newMemory()
	w := &webhook{Webhook: Webhook{URL: server.URL + "/hook/"}, namespace: "fairlead-system", store: m, client: newHTTPClient(Config{})}
	for _, c := range []struct {
		secret map[string]string
		want   string
	}{
		{nil, "POST /hook/present "}, {map[string]string{"token": "abc\n"}, "POST /hook/present Bearer abc"},
		{map[string]string{"username": "a", "password": "b"}, "POST /hook/present Basic YTpi"},
	} {
		w.Secret = ""
		if c.secret != nil {
			w.Secret = "dns"
			data := map[string][]byte{}
			for key, text := range c.secret {
				data[key] = []byte(text)
			}
			m.all[desired.Name{Namespace: "fairlead-system", Name: "dns"}] = Secret{Data: data}
		}
		if err := w.present(t.Context(), record{"_acme-challenge.a.", "v"}); err != nil || got != c.want {
			t.Errorf("%q, want %q: %v", got, c.want, err)
		}
	}
	if err := w.cleanup(t.Context(), record{}); err == nil || !strings.Contains(err.Error(), "status 404: no such zone") {
		t.Error(err)
	}
	w.Secret = "other"
	if err := w.present(t.Context(), record{}); err == nil || !strings.Contains(err.Error(), "there is no Secret fairlead-system/other, which acme.dnsWebhook names; make it") {
		t.Error(err)
	}
	m.all[desired.Name{Namespace: "fairlead-system", Name: "other"}] = Secret{}
	if err := w.present(t.Context(), record{}); err == nil || !strings.Contains(err.Error(), "has neither token nor username") {
		t.Error(err)
	}
}
