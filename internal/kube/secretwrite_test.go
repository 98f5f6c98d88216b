package kube

import (
	"errors"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/fairlead-net/fairlead/internal/desired"
)

// TestOwnedSecrets: of two writers one is told that the other was faster, and what
// others wrote onto a Secret stays.
func TestOwnedSecrets(t *testing.T) {
	ctx, name := t.Context(), desired.Name{Namespace: "demo", Name: "shop"}
	set := fake.NewClientset()
	c := &Client{clientset: set}
	read := func() OwnedSecret {
		t.Helper()
		s, _, err := c.ReadSecret(ctx, name, "by", "us")
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	if _, ok, err := c.ReadSecret(ctx, name, "by", "us"); ok || err != nil {
		t.Error(ok, err)
	}
	made := OwnedSecret{Type: "kubernetes.io/tls", Data: map[string][]byte{"tls.crt": []byte("1")}}
	if err := c.WriteSecret(ctx, name, made, "by", "us"); err != nil {
		t.Fatal(err)
	}
	if err := c.WriteSecret(ctx, name, made, "by", "us"); !errors.Is(err, ErrSecretChanged) {
		t.Errorf("created twice: %v", err)
	}
	if s := read(); !s.Owned || s.Type != made.Type || string(s.Data["tls.crt"]) != "1" {
		t.Errorf("%+v", s)
	}
	// Somebody writes something of his own onto it.
	o, _ := set.CoreV1().Secrets("demo").Get(ctx, "shop", metav1.GetOptions{})
	o.ResourceVersion, o.Annotations = "7", map[string]string{"note": "mine"}
	if _, err := set.CoreV1().Secrets("demo").Update(ctx, o, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	made.Version = "6"
	if err := c.WriteSecret(ctx, name, made, "by", "us"); !errors.Is(err, ErrSecretChanged) {
		t.Errorf("written over: %v", err)
	}
	made = read()
	made.Data = map[string][]byte{"tls.crt": []byte("2")}
	if err := c.WriteSecret(ctx, name, made, "by", "us"); err != nil {
		t.Fatal(err)
	}
	if o, _ = set.CoreV1().Secrets("demo").Get(ctx, "shop", metav1.GetOptions{}); o.Annotations["note"] != "mine" || string(o.Data["tls.crt"]) != "2" {
		t.Errorf("%+v", o)
	}
	if err := c.WriteSecret(ctx, desired.Name{Namespace: "demo", Name: "gone"}, made, "by", "us"); !errors.Is(err, ErrSecretChanged) {
		t.Errorf("one that is gone: %v", err)
	}
	if _, err := set.CoreV1().Secrets("demo").Create(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: "theirs"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if s, ok, err := c.ReadSecret(ctx, desired.Name{Namespace: "demo", Name: "theirs"}, "by", "us"); !ok || err != nil || s.Owned {
		t.Errorf("%+v, %v", s, err)
	}
}
