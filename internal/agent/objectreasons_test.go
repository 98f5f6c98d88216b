package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fairlead-net/fairlead/internal/config"
	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/kube"
	"github.com/fairlead-net/fairlead/internal/l7"
	"github.com/fairlead-net/fairlead/internal/l7/nginx"
)

// TestObjectReasons holds what gateways say at Ingresses of the objects that those name,
// and that it has nothing of what a Secret holds.
func TestObjectReasons(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	class := desired.Objects{Synced: true}
	for _, i := range []*desired.Ingress{
		securedIngress("shop", nil), securedIngress("wrong", nil), securedIngress("fine", nil),
		securedIngress("guarded", map[string]string{nginx.Prefix + "auth-type": "basic", nginx.Prefix + "auth-secret": "users"}),
		securedIngress("open", map[string]string{nginx.Prefix + "auth-type": "basic", nginx.Prefix + "auth-secret": "nobody", nginx.Prefix + "custom-headers": "absent"}),
	} {
		class.Ingresses = class.Ingresses.Set(i.Name, i)
	}
	for name, c := range securedState().IngressClasses.All() {
		class.IngressClasses = class.IngressClasses.Set(name, c)
	}
	state, _ := desired.Build(class, desired.Node{}, nil)
	table, _ := l7.Compile(state, l7.Table{}, l7.Config{})
	demo := func(name string) desired.Name { return desired.Name{Namespace: "demo", Name: name} }
	data := holding(map[desired.Name]*kube.Data{
		demo("wrong-tls"): {Type: "kubernetes.io/tls", Keys: map[string][]byte{"tls.crt": []byte("x")}}, demo("fine-tls"): certificateData(t),
		demo("guarded-tls"): certificateData(t), demo("open-tls"): certificateData(t),
		demo("users"): {Keys: map[string][]byte{"auth": []byte("secret-name:secret-hash\n")}},
	})
	p := &gatewayPlane{data: data, credentials: newCredentials(log), contents: newContents(log)}
	if got := p.objectReasons(); got != nil {
		t.Errorf("before anything is known: %v", got)
	}
	p.wants, p.began = table, true
	all, _ := data.Get()
	p.credentials.certificates(all)
	p.contents.read(table, all)
	got := []string{}
	for _, r := range p.objectReasons() {
		got = append(got, r.Object.Name+" "+r.Code+" "+r.Message)
	}
	want := []string{
		"guarded SecretInvalid Secret demo/users: 1 of its entries", "open ConfigMapNotFound ConfigMap demo/absent does not", "open SecretNotFound Secret demo/nobody does not",
		"shop SecretNotFound Secret demo/shop-tls does not", "wrong SecretInvalid Secret demo/wrong-tls: it has no tls.key",
	}
	if !slices.EqualFunc(got, want, strings.HasPrefix) || strings.Contains(fmt.Sprint(got), "secret-") {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestObjectWarner holds that what is wrong for a minute is said, again after a while, a
// few things at a time, and that what could not be written is tried again, but not at once.
func TestObjectWarner(t *testing.T) {
	reason := func(i int) desired.Reason { return desired.Reason{Code: fmt.Sprintf("R%02d", i)} }
	var wrong []desired.Reason
	var said []string
	var broken error
	w := &objectWarner{
		reasons: func() []desired.Reason { return wrong }, failed: func(error) {},
		warn: func(_ context.Context, r desired.Reason) error {
			if broken == nil {
				said = append(said, r.Code)
			}
			return broken
		},
	}
	now := time.Now()
	look := func(after time.Duration, want ...string) {
		t.Helper()
		said, now = nil, now.Add(after)
		w.look(t.Context(), now)
		if !slices.Equal(said, want) {
			t.Errorf("%v, want %v", said, want)
		}
	}
	wrong = []desired.Reason{reason(1), reason(2)}
	look(0)
	look(objectGrace - 1)
	wrong = wrong[:1]
	look(1, "R01") // the other one has been mended
	look(time.Minute)
	wrong = []desired.Reason{reason(1), reason(2)}
	look(objectAgain-time.Minute, "R01")
	broken = errors.New("forbidden")
	look(objectGrace)
	broken = nil
	look(time.Second) // it leaves room for others
	look(objectFailed-time.Second, "R02")
	wrong = nil
	for i := range objectWarnings + 5 {
		wrong = append(wrong, reason(10+i))
	}
	look(0)
	w.look(t.Context(), now.Add(objectGrace))
	if said = said[:0]; len(w.known) != len(wrong) {
		t.Error(len(w.known))
	}
	look(objectGrace+time.Second, "R30", "R31", "R32", "R33", "R34")
}

// TestObjectEvents holds that a gateway of a cluster writes Events, and one of a folder
// does not.
func TestObjectEvents(t *testing.T) {
	for _, cluster := range []bool{true, false} {
		a := bare(t, Options{})
		if cluster {
			a.ingressEvents = kube.NewIngressEvents(clientOf(t, "http://127.0.0.1:1"))
		}
		a.warnOfObjects(&gatewayPlane{data: holding(nil), credentials: newCredentials(a.log), contents: newContents(a.log), challenges: newChallenges(config.Default(), a.log)})
		if (len(a.services) == 1) != cluster {
			t.Errorf("cluster %t: %d services", cluster, len(a.services))
		}
	}
}
