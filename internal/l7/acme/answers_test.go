package acme

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/fairlead-net/fairlead/internal/desired"
)

func testAnswer(kind Challenge, host, token string) answer {
	return answer{Kind: kind, Host: host, Token: token, Key: token + ".thumbprint"}
}

// post returns what replicas read after these were put.
func post(t *testing.T, m *memory, answers ...answer) Secret {
	t.Helper()
	b := &board{store: m, name: desired.Name{Namespace: "fairlead-system", Name: AnswersSecret}}
	if err := b.put(t.Context(), answers...); err != nil {
		t.Fatal(err)
	}
	s, _, _ := m.Get(t.Context(), b.name)
	return s
}

func TestAnswers(t *testing.T) {
	m := newMemory()
	s := post(t, m, testAnswer(HTTP01, "a.example.com", "token-1"), testAnswer(TLSALPN01, "b.example.com", "token-2"))
	answers, err := ReadAnswers(s, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		host, token string
		ok          bool
	}{
		{"a.example.com", "token-1", true}, {"A.Example.com.", "token-1", true}, {"b.example.com", "token-1", false},
		{"a.example.com", "token-2", false}, {"a.example.com", "", false}, {"", "token-1", false},
	} {
		key, ok := answers.HTTP01(c.host, c.token)
		if ok != c.ok || ok && key != "token-1.thumbprint" {
			t.Errorf("%+v: %q, %t", c, key, ok)
		}
	}
	first, ok := answers.TLSALPN01("B.example.com")
	if _, other := answers.TLSALPN01("a.example.com"); !ok || other {
		t.Error("the certificate of another challenge")
	}
	// What did not change is not made anew.
	s = post(t, m, testAnswer(HTTP01, "c.example.com", "token-3"))
	next, _ := ReadAnswers(s, answers)
	if again, _ := next.TLSALPN01("b.example.com"); again != first {
		t.Error("another certificate for the same challenge")
	}
	if _, ok := new(Answers).HTTP01("a.example.com", "token-1"); ok {
		t.Error("the zero Answers answer")
	}
}

// TestHandshake: only who offers acme-tls/1 and nothing else is an authority (RFC 8737,
// section 3).
func TestHandshake(t *testing.T) {
	answers, err := ReadAnswers(post(t, newMemory(), testAnswer(TLSALPN01, "a.example.com", "token")), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name      string
		protocols []string
		want      string
	}{
		{"a.example.com", []string{ALPN}, ALPN}, {"other.example.com", []string{ALPN}, "error"},
		{"a.example.com", []string{"h2", ALPN}, "ordinary"}, {"a.example.com", []string{ALPN, "h2"}, "ordinary"}, {"a.example.com", nil, "ordinary"},
	} {
		client, server := net.Pipe()
		var asked error
		ordinary := errors.New("ordinary")
		go func() {
			defer func() { _ = server.Close() }()
			_ = tls.Server(server, &tls.Config{GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
				config, err := answers.TLSConfig(hello)
				if asked = err; config == nil && err == nil {
					asked = ordinary
				}
				return config, asked
			}}).Handshake()
		}()
		conn := tls.Client(client, &tls.Config{ServerName: c.name, NextProtos: c.protocols, InsecureSkipVerify: true})
		err := conn.Handshake()
		got := conn.ConnectionState().NegotiatedProtocol
		_ = conn.Close()
		switch {
		case c.want == ALPN && (err != nil || got != ALPN):
			t.Errorf("%+v: %v, %q", c, err, got)
		case c.want == "ordinary" && !errors.Is(asked, ordinary), c.want == "error" && (asked == nil || errors.Is(asked, ordinary)):
			t.Errorf("%+v: %v", c, asked)
		}
	}
}

// TestBadAnswers: one that cannot be used leaves the others alone, and there is a limit.
func TestBadAnswers(t *testing.T) {
	s := post(t, newMemory(), testAnswer(HTTP01, "a.example.com", "token"))
	for i, text := range []string{"{", `{"kind":"dns-01"}`, `{"kind":"http-01","host":"A","token":"t","key":"t.k"}`, `{"kind":"http-01","host":"a","token":"../x","key":"../x.k"}`, `{"kind":"http-01","host":"a","token":"t","key":"u.k"}`} {
		s.Data[fmt.Sprint(i)] = []byte(text)
	}
	other, _ := json.Marshal(testAnswer(HTTP01, "b.example.com", "token"))
	s.Data["another-name"] = other
	answers, err := ReadAnswers(s, nil)
	if err == nil || strings.Count(err.Error(), "\n") != 5 {
		t.Errorf("%v", err)
	}
	if _, ok := answers.HTTP01("a.example.com", "token"); !ok || len(answers.http) != 1 {
		t.Errorf("%+v", answers.http)
	}
	for n := range maxAnswers + 10 {
		a := testAnswer(HTTP01, fmt.Sprint(n, ".example.com"), "token")
		s.Data[a.key()], _ = json.Marshal(a)
	}
	if answers, err = ReadAnswers(s, nil); err == nil || len(answers.http) > maxAnswers {
		t.Errorf("%d answers, %v", len(answers.http), err)
	}
}

// TestBoard: answers of others stay, old ones go, and who is slower tries again.
func TestBoard(t *testing.T) {
	in(t, func(t *testing.T) {
		m := newMemory()
		a, b, c := testAnswer(HTTP01, "a.example.com", "a"), testAnswer(HTTP01, "b.example.com", "b"), testAnswer(HTTP01, "c.example.com", "c")
		post(t, m, a)
		time.Sleep(59 * time.Minute)
		m.conflicts = 3
		if s := post(t, m, b); len(s.Data) != 2 {
			t.Errorf("%d answers", len(s.Data))
		}
		time.Sleep(2 * time.Minute)
		if s := post(t, m, c); len(s.Data) != 2 || s.Data[a.key()] != nil {
			t.Errorf("%d answers, the old one among them", len(s.Data))
		}
		board := &board{store: m, name: desired.Name{Namespace: "fairlead-system", Name: AnswersSecret}}
		if err := board.remove(t.Context(), b, c); err != nil {
			t.Fatal(err)
		}
		if s, _, _ := m.Get(t.Context(), board.name); len(s.Data) != 0 {
			t.Errorf("%v", s.Data)
		}
		m.conflicts = 1000
		if err := board.put(context.Background(), a); !errors.Is(err, ErrConflict) {
			t.Error(err)
		}
	})
}

func TestToken(t *testing.T) {
	for path, want := range map[string]string{
		"/.well-known/acme-challenge/abc_-9": "abc_-9", "/.well-known/acme-challenge/": "", "/.well-known/acme-challenge/a/b": "", "/.well-known/acme-challenge": "",
		"/x/.well-known/acme-challenge/abc": "", "/.well-known/acme-challenge/" + strings.Repeat("a", 257): "", "/.well-known/acme-challenge/a b": "",
	} {
		if token, ok := Token(path); ok != (want != "") || ok && token != want {
			t.Errorf("%s: %q, %t", path, token, ok)
		}
	}
}

// FuzzReadAnswers: whatever is in the Secret, what is answered is TOKEN.THUMBPRINT.
func FuzzReadAnswers(f *testing.F) {
	text, _ := json.Marshal(testAnswer(TLSALPN01, "a.example.com", "token"))
	f.Add(testAnswer(TLSALPN01, "a.example.com", "token").key(), text)
	f.Add("x", []byte(`{"kind":"http-01","host":"a","token":"t","key":"t.k"}`))
	f.Fuzz(func(t *testing.T, name string, text []byte) {
		answers, _ := ReadAnswers(Secret{Data: map[string][]byte{name: text}}, nil)
		for at, key := range answers.http {
			_, token, _ := strings.Cut(at, " ")
			if !strings.HasPrefix(key, token+".") || !isToken(token) {
				t.Errorf("%q: %q", at, key)
			}
		}
	})
}

// FuzzParseLedger: whatever is in the Secret, what is said is short, and it is written
// as it is read.
func FuzzParseLedger(f *testing.F) {
	f.Add(Ledger{}.began("shop", "want", time.Unix(1, 0).UTC()).text())
	f.Add([]byte(`{"failures":{"a":{"count":-1}}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		l, err := parseLedger(text)
		if err != nil {
			return
		}
		for _, failure := range l.Failures {
			if failure.Count < 1 || len(failure.Message) > maxText+4 {
				t.Errorf("%+v", failure)
			}
		}
		_ = l.text()
		_ = l.began("x", "y", time.Now())
	})
}
