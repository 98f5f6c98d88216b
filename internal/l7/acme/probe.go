package acme

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/asn1"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

// Peer is where one replica of the gateway accepts connections of clients.
type Peer struct{ HTTP, HTTPS netip.AddrPort }

// spread returns when every replica answers, so that it does not matter which one the
// authority asks. A replica that does not in time is passed over: it hardly serves
// anything else. If none does, the authority need not be asked.
func (i *issuer) spread(ctx context.Context, answers []answer) error {
	peers := i.peers()
	if len(peers) == 0 || len(answers) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, i.probeFor)
	defer cancel()
	failures := make([]error, len(peers))
	var all sync.WaitGroup
	for n, peer := range peers {
		all.Go(func() {
			for _, a := range answers {
				if failures[n] = until(ctx, peer, a); failures[n] != nil {
					return
				}
			}
		})
	}
	all.Wait()
	failed := 0
	for n, err := range failures {
		if err != nil {
			failed++
			i.log.Warn("a replica does not answer a challenge", "replica", peers[n].HTTP.Addr(), "error", err)
		}
	}
	if failed == len(peers) {
		return fmt.Errorf("none of %d replicas of the gateway answers for it: %w", len(peers), failures[0])
	}
	return nil
}

// until asks until the answer is right.
func until(ctx context.Context, peer Peer, a answer) error {
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		err := ask(ctx, peer, a)
		if err == nil || sleep(ctx, wait) != nil {
			return err
		}
	}
}

// ask is what the authority will do.
func ask(ctx context.Context, peer Peer, a answer) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if a.Kind == TLSALPN01 {
		return askTLS(ctx, peer.HTTPS, a)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+peer.HTTP.String()+ChallengePath+a.Token, nil)
	if err != nil {
		return err
	}
	request.Host = a.Host
	client := http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true}, // no proxy between replicas
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(response.Body, 1024))
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK || string(body) != a.Key {
		return fmt.Errorf("%s answers with status %d and another text", peer.HTTP, response.StatusCode)
	}
	return nil
}

// askTLS looks for the digest of the key authorization in the certificate (RFC 8737,
// section 3).
func askTLS(ctx context.Context, at netip.AddrPort, a answer) error {
	// The certificate is signed by nobody; what counts is in it.
	dialer := tls.Dialer{NetDialer: &net.Dialer{}, Config: &tls.Config{ServerName: a.Host, NextProtos: []string{ALPN}, InsecureSkipVerify: true, MinVersion: tls.VersionTLS12}}
	c, err := dialer.DialContext(ctx, "tcp", at.String())
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	conn, ok := c.(*tls.Conn)
	if !ok || len(conn.ConnectionState().PeerCertificates) == 0 {
		return errors.New("there is no certificate")
	}
	identifier := asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 31}
	sum := sha256.Sum256([]byte(a.Key))
	for _, e := range conn.ConnectionState().PeerCertificates[0].Extensions {
		var value []byte
		if e.Id.Equal(identifier) {
			if _, err := asn1.Unmarshal(e.Value, &value); err == nil && string(value) == string(sum[:]) {
				return nil
			}
		}
	}
	return fmt.Errorf("%s shows another certificate", at)
}
