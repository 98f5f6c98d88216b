package acme

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"

	rfc8555 "github.com/mholt/acmez/v3/acme"

	"github.com/fairlead-net/fairlead/internal/desired"
)

// The keys of a Secret with an account: its private key in PEM form, and what the
// authority knows of it.
const (
	keyAccount  = "account.pem"
	keyRegister = "account.json"
)

// registered is what is kept of an account.
type registered struct {
	Server   string `json:"server"`
	Location string `json:"location"` // the account's URL, by which the authority knows it
	Email    string `json:"email,omitempty"`
	EAB      string `json:"eab,omitempty"` // the key's ID
}

// accounts has the account of the one server that is configured.
type accounts struct {
	config Config
	store  Store
	mu     sync.Mutex
	known  rfc8555.Account
}

// name of the Secret: each server has its own, so that a change of acme.server mixes
// nothing up.
func (a *accounts) name() desired.Name {
	sum := sha256.Sum256([]byte(a.config.Server))
	return desired.Name{Namespace: a.config.Namespace, Name: accountSecret + hex.EncodeToString(sum[:4])}
}

// get returns the account, and makes it if there is none yet (RFC 8555, section 7.3).
func (a *accounts) get(ctx context.Context, client *rfc8555.Client) (rfc8555.Account, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.known.Location != "" {
		return a.known, nil
	}
	s, err := a.secret(ctx)
	if err != nil {
		return rfc8555.Account{}, localError{err}
	}
	key, err := readKey(s.Data[keyAccount])
	if err != nil {
		return rfc8555.Account{}, localError{fmt.Errorf("Secret %s: %s: %w; delete it, and another account is made", a.name(), keyAccount, err)}
	}
	var r registered
	if text := s.Data[keyRegister]; len(text) > 0 && json.Unmarshal(text, &r) != nil {
		r = registered{}
	}
	account := rfc8555.Account{PrivateKey: key, Status: rfc8555.StatusValid, Location: r.Location, Contact: a.contact(), TermsOfServiceAgreed: a.config.AgreeToTerms}
	want := registered{Server: a.config.Server, Email: a.config.Email, EAB: a.config.EAB.KeyID}
	switch {
	case r.Location == "" || r.EAB != want.EAB:
		account, err = a.register(ctx, client, account)
	case r.Email != want.Email:
		account, err = client.UpdateAccount(ctx, account)
		account.Location, err = r.Location, ofAuthority(err)
	}
	if err != nil {
		return rfc8555.Account{}, err
	}
	if want.Location = account.Location; r != want {
		if err := a.keep(ctx, want); err != nil {
			return rfc8555.Account{}, localError{err}
		}
	}
	a.known = account
	return account, nil
}

func (a *accounts) contact() []string {
	if a.config.Email == "" {
		return nil
	}
	return []string{"mailto:" + a.config.Email}
}

// register makes an account, or finds the one that the key has.
func (a *accounts) register(ctx context.Context, client *rfc8555.Client, account rfc8555.Account) (rfc8555.Account, error) {
	account.Location, account.Status = "", ""
	if a.config.EAB.KeyID != "" {
		name := desired.Name{Namespace: a.config.Namespace, Name: a.config.EAB.Secret}
		s, ok, err := a.store.Get(ctx, name)
		if err != nil {
			return account, localError{fmt.Errorf("cannot read Secret %s, which acme.eab names: %w", name, err)}
		}
		if !ok || len(s.Data["hmac"]) == 0 {
			return account, localError{fmt.Errorf("Secret %s, which acme.eab names, has no hmac; put the key there that the authority gave", name)}
		}
		// Authorities give it in either alphabet, with or without padding.
		hmac := strings.NewReplacer("+", "-", "/", "_", "=", "").Replace(strings.TrimSpace(string(s.Data["hmac"])))
		if err := account.SetExternalAccountBinding(ctx, client, rfc8555.EAB{KeyID: a.config.EAB.KeyID, MACKey: hmac}); err != nil {
			return account, ofAuthority(err)
		}
	}
	made, err := client.NewAccount(ctx, account)
	if err != nil {
		return account, ofAuthority(err)
	}
	if made.Location == "" || made.Status != rfc8555.StatusValid {
		return account, ofAuthority(fmt.Errorf("the account is %q at the authority; delete Secret %s, and another one is made", plain(made.Status), a.name()))
	}
	made.PrivateKey = account.PrivateKey
	return made, nil
}

// renew makes the account once more: the authority does not know it (any more), as
// one for tests does after a restart.
func (a *accounts) renew(ctx context.Context, client *rfc8555.Client) (rfc8555.Account, error) {
	if err := a.forget(ctx); err != nil {
		return rfc8555.Account{}, localError{err}
	}
	return a.get(ctx, client)
}

func (a *accounts) forget(ctx context.Context) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.known = rfc8555.Account{}
	return a.keep(ctx, registered{Server: a.config.Server})
}

func (a *accounts) keep(ctx context.Context, r registered) error {
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return update(ctx, a.store, a.name(), func(data map[string][]byte) error {
		data[keyRegister] = text
		return nil
	})
}

// secret returns the Secret with the account's key, which is made if there is none. If
// another replica is at it too, the key of the first one counts.
func (a *accounts) secret(ctx context.Context) (Secret, error) {
	for range 3 {
		s, ok, err := a.store.Get(ctx, a.name())
		if err != nil {
			return Secret{}, fmt.Errorf("reading Secret %s: %w", a.name(), err)
		}
		if ok && len(s.Data[keyAccount]) > 0 {
			return s, nil
		}
		_, text, err := newKey()
		if err != nil {
			return Secret{}, err
		}
		made := Secret{Type: TypeOpaque, Ours: true, Data: maps.Clone(s.Data), Version: s.Version}
		if made.Data == nil {
			made.Data = map[string][]byte{}
		}
		made.Data[keyAccount] = text
		if err := a.store.Put(ctx, a.name(), made); err == nil {
			return made, nil
		} else if !errors.Is(err, ErrConflict) {
			return Secret{}, fmt.Errorf("writing Secret %s: %w", a.name(), err)
		}
	}
	return Secret{}, fmt.Errorf("Secret %s is there and cannot be read", a.name())
}

// newKey makes a key, ECDSA with P-256, which every authority takes; text has it in PEM
// form.
func newKey() (key crypto.Signer, text []byte, err error) {
	made, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(made)
	if err != nil {
		return nil, nil, err
	}
	return made, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// readKey reads a private key in PEM form, as newKey writes it.
func readKey(text []byte) (crypto.Signer, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, errors.New("is no PEM")
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, errors.New("is no key that signs")
	}
	return signer, nil
}
