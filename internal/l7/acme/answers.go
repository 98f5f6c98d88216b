package acme

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/mholt/acmez/v3"
	rfc8555 "github.com/mholt/acmez/v3/acme"
)

// answer is what an authority is told that asks for a host.
type answer struct {
	Kind Challenge `json:"kind"` // HTTP01 or TLSALPN01
	Host string    `json:"host"`
	// Token is in the URL (RFC 8555, section 8.3); Key is the key authorization (8.1).
	Token string    `json:"token"`
	Key   string    `json:"key"`
	Until time.Time `json:"until"`
}

// key names an answer in a Secret.
func (a answer) key() string {
	sum := sha256.Sum256([]byte(string(a.Kind) + " " + a.Host + " " + a.Token))
	return hex.EncodeToString(sum[:16])
}

// check refuses what no authority asks for.
func (a answer) check() error {
	token, thumbprint, ok := strings.Cut(a.Key, ".")
	switch {
	case a.Kind != HTTP01 && a.Kind != TLSALPN01:
		return fmt.Errorf("%q is no challenge that is answered here", a.Kind)
	case a.Host == "" || len(a.Host) > 253 || strings.ToLower(a.Host) != a.Host || strings.HasPrefix(a.Host, "*"):
		return errors.New("the host is no name in lower case")
	case !isToken(a.Token):
		return errors.New("the token is not base64url of 1 to 256 characters")
	case !ok || token != a.Token || !isToken(thumbprint):
		return errors.New("the key authorization is not TOKEN.THUMBPRINT")
	}
	return nil
}

// isToken tells a text of the alphabet of tokens (RFC 8555, section 8.1).
func isToken(text string) bool {
	if text == "" || len(text) > 256 {
		return false
	}
	for _, c := range []byte(text) {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	return true
}

// Answers are what a replica answers authorities at the moment. They are never
// changed; the zero Answers answer nothing.
type Answers struct {
	http map[string]string // "HOST TOKEN" -> key authorization
	alpn map[string]shown  // by host
}

type shown struct {
	key         string
	certificate *tls.Certificate
}

// ReadAnswers returns what a Secret named AnswersSecret says; last is what the one
// before said, or nil. The error names entries that cannot be used; the Answers have
// the others.
func ReadAnswers(s Secret, last *Answers) (*Answers, error) {
	a := &Answers{http: map[string]string{}, alpn: map[string]shown{}}
	if last == nil {
		last = new(Answers)
	}
	var wrong []error
	for name, text := range s.Data {
		if len(a.http)+len(a.alpn) >= maxAnswers {
			wrong = append(wrong, fmt.Errorf("there are more than %d answers; the others are left out", maxAnswers))
			break
		}
		if err := a.read(name, text, last); err != nil && len(wrong) < 10 {
			wrong = append(wrong, fmt.Errorf("%s: %w", cut(name), err))
		}
	}
	return a, errors.Join(wrong...)
}

func (a *Answers) read(name string, text []byte, last *Answers) error {
	var entry answer
	if err := json.Unmarshal(text, &entry); err != nil {
		return err
	}
	if err := entry.check(); err != nil {
		return err
	}
	if name != entry.key() {
		return errors.New("the name is not that of the answer")
	}
	if entry.Kind == HTTP01 {
		a.http[entry.Host+" "+entry.Token] = entry.Key
		return nil
	}
	if before, ok := last.alpn[entry.Host]; ok && before.key == entry.Key {
		a.alpn[entry.Host] = before
		return nil
	}
	made, err := acmez.TLSALPN01ChallengeCert(rfc8555.Challenge{
		Identifier: rfc8555.Identifier{Type: "dns", Value: entry.Host}, KeyAuthorization: entry.Key,
	})
	if err != nil {
		return err
	}
	a.alpn[entry.Host] = shown{entry.Key, made}
	return nil
}

// ChallengePath is what the paths of HTTP01 begin with; the token follows.
const ChallengePath = "/.well-known/acme-challenge/"

// Token returns the token in the path of a request, false if it is no challenge's.
func Token(path string) (string, bool) {
	token, ok := strings.CutPrefix(path, ChallengePath)
	return token, ok && isToken(token)
}

// HTTP01 returns what is the whole body of the answer to a GET of a challenge's path
// without TLS; false: it is no challenge of this gateway's, and the request goes where
// the Table says, perhaps to cert-manager. host has no port.
func (a *Answers) HTTP01(host, token string) (key string, ok bool) {
	key, ok = a.http[name(host)+" "+token]
	return key, ok
}

// TLSALPN01 returns the certificate for a handshake that offers ALPN and nothing else
// (RFC 8737, section 3); false: there is none, and such a handshake has to fail.
func (a *Answers) TLSALPN01(host string) (*tls.Certificate, bool) {
	s, ok := a.alpn[name(host)]
	return s.certificate, ok
}

// ALPN is the only protocol that an authority's handshake offers (RFC 8737, section
// 6.2). The connection ends after it.
const ALPN = "acme-tls/1"

// IsTLSALPN01 tells a handshake that is a challenge.
func IsTLSALPN01(hello *tls.ClientHelloInfo) bool {
	return len(hello.SupportedProtos) == 1 && hello.SupportedProtos[0] == ALPN
}

// TLSConfig returns how to answer a handshake that is a challenge, and an error if
// there is nothing to answer; nil if it is another handshake. It is for
// tls.Config.GetConfigForClient.
func (a *Answers) TLSConfig(hello *tls.ClientHelloInfo) (*tls.Config, error) {
	if !IsTLSALPN01(hello) {
		return nil, nil
	}
	certificate, ok := a.TLSALPN01(hello.ServerName)
	if !ok {
		return nil, errors.New("nobody waits for this challenge")
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{ALPN}, Certificates: []tls.Certificate{*certificate}}, nil
}

// name returns a host as answers have it.
func name(host string) string { return strings.ToLower(strings.TrimSuffix(host, ".")) }
