package kube

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"

	"github.com/fairlead-net/fairlead/internal/desired"
)

// IngressEvents puts warnings on Ingresses, of which several replicas may have the same:
// an Event has a name by what it says, so there is one of it until it expires. It needs
// the rights to list Ingresses and to create Events, and no others.
type IngressEvents struct{ client *Client }

// NewIngressEvents returns IngressEvents.
func NewIngressEvents(client *Client) *IngressEvents { return &IngressEvents{client} }

// Warn puts a Reason on the Ingress that it is about, unless it is there already. An
// Ingress that is gone is no error.
func (e *IngressEvents) Warn(ctx context.Context, what desired.Reason) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	of := what.Object
	// kubectl describe finds an Event by the identity of its object.
	found, err := e.client.clientset.NetworkingV1().Ingresses(of.Namespace).List(ctx, metav1.ListOptions{
		FieldSelector: fields.OneTermEqualSelector("metadata.name", of.Name).String(), Limit: 1,
	})
	if err != nil {
		return listError("Ingresses", err)
	}
	for i := range found.Items {
		o := &found.Items[i]
		if o.Namespace != of.Namespace || o.Name != of.Name {
			continue
		}
		now := metav1.Now()
		_, err := e.client.clientset.CoreV1().Events(of.Namespace).Create(ctx, &corev1.Event{
			ObjectMeta: metav1.ObjectMeta{Namespace: of.Namespace, Name: eventName(o, what)},
			InvolvedObject: corev1.ObjectReference{
				APIVersion: "networking.k8s.io/v1", Kind: "Ingress", Namespace: of.Namespace, Name: of.Name, UID: o.UID, ResourceVersion: o.ResourceVersion,
			},
			Type: corev1.EventTypeWarning, Reason: what.Code, Message: what.Message, Source: corev1.EventSource{Component: "fairlead"},
			FirstTimestamp: now, LastTimestamp: now, Count: 1,
		}, metav1.CreateOptions{})
		if err != nil && !apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("write an Event at %s: %w", of, err)
		}
	}
	return nil
}

// eventName is the name of the Event that says something of an object: the same for
// whoever says it.
func eventName(of metav1.Object, what desired.Reason) string {
	sum := sha256.Sum256([]byte(string(of.GetUID()) + "\x00" + what.Code + "\x00" + what.Message))
	name := of.GetName()
	const most = 253 - 1 - 16 // of a name, without what follows
	return strings.TrimRight(name[:min(len(name), most)], "-.") + "." + hex.EncodeToString(sum[:8])
}
