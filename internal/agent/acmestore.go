package agent

import (
	"context"
	"errors"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/kube"
	"github.com/fairlead-net/fairlead/internal/l7/acme"
)

// NewACMEStore returns the API server's Secrets as a Store. It may get, create and
// update them where the certificates of Ingresses go, and in acme.Config.Namespace.
func NewACMEStore(client *kube.Client) acme.Store { return secretStore{client} }

// secretStore implements acme.Store.
type secretStore struct{ client *kube.Client }

// Get implements acme.Store.
func (s secretStore) Get(ctx context.Context, name desired.Name) (acme.Secret, bool, error) {
	o, found, err := s.client.ReadSecret(ctx, name, acme.OwnerLabel, acme.OwnerLabelValue)
	return acme.Secret{Type: o.Type, Ours: o.Owned, Data: o.Data, Version: o.Version}, found, err
}

// Put implements acme.Store.
func (s secretStore) Put(ctx context.Context, name desired.Name, made acme.Secret) error {
	err := s.client.WriteSecret(ctx, name, kube.OwnedSecret{Type: made.Type, Data: made.Data, Version: made.Version}, acme.OwnerLabel, acme.OwnerLabelValue)
	if errors.Is(err, kube.ErrSecretChanged) {
		return acme.ErrConflict
	}
	return err
}
