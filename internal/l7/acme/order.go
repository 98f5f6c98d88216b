package acme

import (
	"context"
	"crypto"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/mholt/acmez/v3"
	rfc8555 "github.com/mholt/acmez/v3/acme"

	"github.com/fairlead-net/fairlead/internal/desired"
)

// issuer orders certificates, one with each call of issue.
type issuer struct {
	config   Config
	store    Store
	http     *http.Client
	log      *slog.Logger
	peers    func() []Peer
	probeFor time.Duration
	accounts *accounts
	board    *board
	webhook  *webhook
}

// client returns one for a single order.
func (i *issuer) client() *rfc8555.Client {
	return &rfc8555.Client{
		Directory: i.config.Server, HTTPClient: i.http, UserAgent: "fairlead",
		PollInterval: time.Second, PollTimeout: maxOrderFor * time.Second,
	}
}

// issue gets a certificate and puts it into its Secret. after is how long the authority
// wants to be left alone with it.
func (i *issuer) issue(ctx context.Context, want Want, held Held) (after time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, maxOrderFor*time.Second)
	defer cancel()
	ctx, patience := withPatience(ctx)
	client := i.client()
	account, err := i.accounts.get(ctx, client)
	if err != nil {
		return patience.after, err
	}
	patience.after = 0
	order, err := i.order(ctx, client, account, want, held)
	if p := problemOf(err); p != nil && p.Type == rfc8555.ProblemTypeAccountDoesNotExist {
		if account, err = i.accounts.renew(ctx, client); err == nil {
			order, err = i.order(ctx, client, account, want, held)
		}
	}
	if err != nil {
		return patience.after, err
	}
	if err := i.authorize(ctx, client, account, order, want); err != nil {
		return 0, err
	}
	key, keyText, err := newKey()
	if err != nil {
		return 0, localError{err}
	}
	chain, err := i.finalize(ctx, client, account, order, want, key)
	if err != nil {
		return patience.after, err
	}
	return 0, i.keep(ctx, want, chain, keyText)
}

// order begins one (RFC 8555, section 7.4). A renewal says what it replaces, if the
// authority is one of RFC 9773 (section 5); such orders are outside the limits of some.
func (i *issuer) order(ctx context.Context, client *rfc8555.Client, account rfc8555.Account, want Want, held Held) (rfc8555.Order, error) {
	order := rfc8555.Order{Profile: i.config.Profile}
	for _, host := range want.Hosts {
		order.Identifiers = append(order.Identifiers, rfc8555.Identifier{Type: "dns", Value: host})
	}
	directory, err := client.GetDirectory(ctx)
	if err != nil {
		return order, ofAuthority(err)
	}
	if held.leaf != nil && held.Server == i.config.Server && directory.RenewalInfo != "" {
		order.Replaces, _ = rfc8555.ARIUniqueIdentifier(held.leaf)
	}
	made, err := client.NewOrder(ctx, account, order)
	if p := problemOf(err); p != nil && order.Replaces != "" && (p.Type == rfc8555.ProblemTypeAlreadyReplaced || p.Type == rfc8555.ProblemTypeMalformed || p.Status == http.StatusNotFound) {
		// Somebody was faster, or the authority no longer knows the old one.
		order.Replaces = ""
		made, err = client.NewOrder(ctx, account, order)
	}
	return made, ofAuthority(err)
}

// finalize sends the key's signing request and gets the certificate with its chain.
func (i *issuer) finalize(ctx context.Context, client *rfc8555.Client, account rfc8555.Account, order rfc8555.Order, want Want, key crypto.Signer) ([]byte, error) {
	request, err := acmez.NewCSR(key, want.Hosts)
	if err != nil {
		return nil, err
	}
	order, err = client.FinalizeOrder(ctx, account, order, request.Raw)
	if err != nil {
		return nil, ofAuthority(err)
	}
	chains, err := client.GetCertificateChain(ctx, account, order.Certificate)
	if err != nil {
		return nil, ofAuthority(err)
	}
	if len(chains) == 0 {
		return nil, ofAuthority(errors.New("there is no certificate"))
	}
	return chains[0].ChainPEM, nil
}

// keep puts the certificate into its Secret, unless somebody else has made that
// meanwhile.
func (i *issuer) keep(ctx context.Context, want Want, chain, key []byte) error {
	pair, err := tls.X509KeyPair(chain, key)
	if err != nil {
		return ofAuthority(fmt.Errorf("the certificate cannot be used: %w", err))
	}
	for _, host := range want.Hosts {
		if err := pair.Leaf.VerifyHostname(strings.Replace(host, "*", "a", 1)); err != nil {
			return ofAuthority(fmt.Errorf("the certificate is for other names: %w", err))
		}
	}
	name := desired.Name(want.Secret)
	made := Secret{Type: TypeTLS, Ours: true, Data: map[string][]byte{keyCertificate: chain, keyPrivate: key, keyServer: []byte(i.config.Server)}}
	for attempt := 0; ; attempt++ {
		old, found, err := i.store.Get(ctx, name)
		if err != nil {
			return fmt.Errorf("reading Secret %s: %w", name, err)
		}
		if found && !old.isCertificate() {
			return fmt.Errorf("Secret %s was made by somebody else meanwhile, and is left as it is; delete it, or remove annotation %s", name, Annotation)
		}
		made.Version = old.Version
		err = i.store.Put(ctx, name, made)
		if err == nil {
			return nil
		}
		if !errors.Is(err, ErrConflict) || attempt == 20 {
			return fmt.Errorf("the certificate was issued, but Secret %s cannot be written: %w", name, err)
		}
		if err := sleep(ctx, time.Duration(attempt)*50*time.Millisecond); err != nil {
			return err
		}
	}
}
