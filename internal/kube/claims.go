package kube

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead-net/fairlead/internal/desired"
)

// How IPAddress objects are marked: by the label that the API itself has for it
// (KEP-1880), and, as an address can be several Services', by the list of them.
const (
	labelManagedBy     = networkingv1.LabelManagedBy
	managedByFairlead  = "fairlead.dev"
	annotationServices = "fairlead.dev/services"
)

// claimedAddress returns the address that an IPAddress object is about: its name.
// What is none has been refused by the API server.
func claimedAddress(o metav1.Object) netip.Addr {
	address, _ := netip.ParseAddr(o.GetName())
	return address
}

func parseClaim(o *networkingv1.IPAddress) *desired.Claim {
	claim := &desired.Claim{Address: claimedAddress(o)}
	var parent desired.Name
	if p := o.Spec.ParentRef; p != nil {
		parent = desired.Name{Namespace: p.Namespace, Name: p.Name}
	}
	if by := o.Labels[labelManagedBy]; by != managedByFairlead {
		claim.Foreign = fmt.Sprintf("IPAddress %s says it is that of %s, by %q", o.Name, parent, by)
		return claim
	}
	for text := range strings.SplitSeq(o.Annotations[annotationServices], ",") {
		namespace, name, ok := strings.Cut(text, "/")
		if ok {
			claim.Services = append(claim.Services, desired.Name{Namespace: namespace, Name: name})
		}
	}
	if len(claim.Services) == 0 {
		claim.Services = []desired.Name{parent}
	}
	return claim
}

// ClaimTakenError says that an address has been claimed before.
type ClaimTakenError struct{ By *desired.Claim }

// Error says who has the address.
func (e *ClaimTakenError) Error() string {
	if e.By.Foreign != "" {
		return e.By.Foreign
	}
	return fmt.Sprintf("IPAddress %s says it is that of %v", e.By.Address, e.By.Services)
}

// CreateClaim makes an address that of its Services. Of several callers, also in
// other processes, only one succeeds: the others get a ClaimTakenError.
func (c *Client) CreateClaim(ctx context.Context, claim *desired.Claim) error {
	addresses := c.clientset.NetworkingV1().IPAddresses()
	_, err := addresses.Create(ctx, claimObject(claim), metav1.CreateOptions{})
	if !apierrors.IsAlreadyExists(err) {
		return claimError("create", claim.Address, err)
	}
	existing, err := addresses.Get(ctx, claim.Address.String(), metav1.GetOptions{})
	if err != nil {
		return claimError("read", claim.Address, err)
	}
	return &ClaimTakenError{parseClaim(existing)}
}

func claimObject(claim *desired.Claim) *networkingv1.IPAddress {
	first := claim.Services[0]
	return &networkingv1.IPAddress{
		ObjectMeta: metav1.ObjectMeta{
			Name: claim.Address.String(), Labels: map[string]string{labelManagedBy: managedByFairlead},
			Annotations: map[string]string{annotationServices: joinNames(claim.Services)},
		},
		Spec: networkingv1.IPAddressSpec{ParentRef: &networkingv1.ParentReference{
			Resource: "services", Namespace: first.Namespace, Name: first.Name,
		}},
	}
}

func joinNames(names []desired.Name) string {
	var texts []string
	for _, name := range names {
		texts = append(texts, name.String())
	}
	return strings.Join(texts, ",")
}

// UpdateClaim changes the Services of a claim from those in before to those in
// now. If another has changed it meanwhile it returns a ClaimTakenError.
func (c *Client) UpdateClaim(ctx context.Context, before, now *desired.Claim) error {
	addresses := c.clientset.NetworkingV1().IPAddresses()
	object, err := addresses.Get(ctx, now.Address.String(), metav1.GetOptions{})
	if err != nil {
		return claimError("read", now.Address, err)
	}
	if held := parseClaim(object); held.Foreign != "" || !slices.Equal(held.Services, before.Services) {
		return &ClaimTakenError{held}
	}
	if p := object.Spec.ParentRef; p != nil && (desired.Name{Namespace: p.Namespace, Name: p.Name}) != now.Services[0] {
		// The parent cannot be changed. Between the two steps the address is free, but
		// whoever gives addresses knows the State from before them.
		if err := c.DeleteClaim(ctx, before); err != nil {
			return err
		}
		return c.CreateClaim(ctx, now)
	}
	if object.Annotations == nil {
		object.Annotations = map[string]string{}
	}
	object.Annotations[annotationServices] = joinNames(now.Services)
	_, err = addresses.Update(ctx, object, metav1.UpdateOptions{})
	return claimError("update", now.Address, err)
}

// DeleteClaim frees an address that these Services have. If others have it
// meanwhile it returns a ClaimTakenError; if nobody, nil.
func (c *Client) DeleteClaim(ctx context.Context, claim *desired.Claim) error {
	addresses := c.clientset.NetworkingV1().IPAddresses()
	object, err := addresses.Get(ctx, claim.Address.String(), metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return claimError("read", claim.Address, err)
	}
	if held := parseClaim(object); held.Foreign != "" || !slices.Equal(held.Services, claim.Services) {
		return &ClaimTakenError{held}
	}
	err = addresses.Delete(ctx, object.Name, metav1.DeleteOptions{
		Preconditions: &metav1.Preconditions{UID: &object.UID, ResourceVersion: &object.ResourceVersion},
	})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return claimError("delete", claim.Address, err)
}

// Claim returns the claim of an address, nil if there is none.
func (c *Client) Claim(ctx context.Context, address netip.Addr) (*desired.Claim, error) {
	o, err := c.clientset.NetworkingV1().IPAddresses().Get(ctx, address.String(), metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, claimError("read", address, err)
	}
	return parseClaim(o), nil
}

// NoteClaim makes a claim part of the View that this Watcher does not follow:
// another's, which was met when one like it was to be made.
func (w *Watcher) NoteClaim(claim *desired.Claim) {
	if claim.Foreign == "" {
		return // it will come by itself
	}
	s := w.addressing.claims
	_ = s.locked(func() error {
		s.objects = s.objects.Set(claim.Address, claim)
		return nil
	})
}

func claimError(what string, address netip.Addr, err error) error {
	switch {
	case err == nil:
		return nil
	case what == "create" && absent(err):
		return fmt.Errorf("%s IPAddress %s: %w; giving addresses to Services needs the API of Kubernetes 1.33 or later", what, address, err)
	}
	return fmt.Errorf("%s IPAddress %s: %w", what, address, err)
}
