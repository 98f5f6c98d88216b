package kube

import (
	"context"
	"errors"
	"fmt"
	"maps"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead-net/fairlead/internal/desired"
)

// OwnedSecret is a Secret that a process of Fairlead's makes, or finds in its place.
type OwnedSecret struct {
	Type string
	// Owned: it has the label that ReadSecret and WriteSecret were given.
	Owned bool
	Data  map[string][]byte
	// Version is the resourceVersion; empty: there was none.
	Version string
}

// ErrSecretChanged says that a Secret is not as it was read.
var ErrSecretChanged = errors.New("the Secret was changed by somebody else")

// ReadSecret returns a Secret, false if there is none. Whose it is says a label.
func (c *Client) ReadSecret(ctx context.Context, name desired.Name, label, value string) (OwnedSecret, bool, error) {
	o, err := c.clientset.CoreV1().Secrets(name.Namespace).Get(ctx, name.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return OwnedSecret{}, false, nil
	}
	if err != nil {
		return OwnedSecret{}, false, fmt.Errorf("Secret %s cannot be read: %w", name, err)
	}
	return OwnedSecret{Type: string(o.Type), Owned: o.Labels[label] == value, Data: o.Data, Version: o.ResourceVersion}, true, nil
}

// WriteSecret creates a Secret with a label, if Version is empty, or replaces the data
// of the one of that Version, whose other labels and annotations stay; else it returns
// an ErrSecretChanged.
func (c *Client) WriteSecret(ctx context.Context, name desired.Name, s OwnedSecret, label, value string) error {
	secrets := c.clientset.CoreV1().Secrets(name.Namespace)
	var err error
	if s.Version == "" {
		_, err = secrets.Create(ctx, &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: name.Namespace, Name: name.Name, Labels: map[string]string{label: value}},
			Type:       corev1.SecretType(s.Type), Data: s.Data,
		}, metav1.CreateOptions{})
	} else {
		var o *corev1.Secret
		if o, err = secrets.Get(ctx, name.Name, metav1.GetOptions{}); err == nil {
			if o.ResourceVersion != s.Version {
				return ErrSecretChanged
			}
			o.Labels = maps.Clone(o.Labels)
			if o.Labels == nil {
				o.Labels = map[string]string{}
			}
			o.Labels[label], o.Data = value, s.Data
			_, err = secrets.Update(ctx, o, metav1.UpdateOptions{})
		}
	}
	switch {
	case err == nil:
		return nil
	case apierrors.IsAlreadyExists(err) && s.Version == "", apierrors.IsConflict(err), apierrors.IsNotFound(err) && s.Version != "":
		return ErrSecretChanged
	}
	return fmt.Errorf("Secret %s cannot be written: %w", name, err)
}
