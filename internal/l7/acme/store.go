package acme

import (
	"context"
	"errors"

	"github.com/fairlead-net/fairlead/internal/desired"
)

// Secret is as much of a Secret as this package reads and writes.
type Secret struct {
	// Type is the Kubernetes type: TypeTLS for certificates, else TypeOpaque.
	Type string
	// Ours: this package made it. A Store keeps that in label OwnerLabel.
	Ours bool
	Data map[string][]byte
	// Version is the one that was read, for Put; empty: there was none.
	Version string
}

// The types of Secrets.
const (
	TypeTLS    = "kubernetes.io/tls"
	TypeOpaque = "Opaque"
)

// The label, with its value, that a Store gives the Secrets that it Puts, and by which
// Secret.Ours is told.
const (
	OwnerLabel      = "app.kubernetes.io/managed-by"
	OwnerLabelValue = "fairlead-acme"
)

// The keys of a Secret of TypeTLS.
const (
	keyCertificate = "tls.crt"
	keyPrivate     = "tls.key"
)

// ErrConflict is what Put returns if the Secret is not as it was read.
var ErrConflict = errors.New("the Secret was changed by somebody else")

// Store has Secrets by name.
type Store interface {
	// Get returns a Secret; false if there is none. What it returns may be old, as Put
	// finds out.
	Get(ctx context.Context, name desired.Name) (Secret, bool, error)
	// Put creates a Secret, if Version is empty, or replaces it if it still has that
	// Version; else it returns an ErrConflict.
	Put(ctx context.Context, name desired.Name, s Secret) error
}
