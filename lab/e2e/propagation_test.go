//go:build e2e

package e2e

import (
	"context"
	"flag"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

var published = flag.Int("ingresses", 300, "how many Ingresses there are while it is measured how soon one more is served")

const (
	// arriving is how many Ingresses are made, one at a time, while others change.
	arriving = 100
	// churn is the time between two changes of others.
	churn = 50 * time.Millisecond
	crowd = "e2e=crowd"
)

// churned is a Service whose endpoints come and go.
const churned = `{apiVersion: v1, kind: Service, metadata: {name: e2e-churned, namespace: demo}, spec: {ports: [{name: http, port: 80}]}}`

const churnedSlice = `{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, addressType: IPv4,
  metadata: {name: e2e-churned, namespace: demo, labels: {kubernetes.io/service-name: e2e-churned}},
  endpoints: [{addresses: ["10.244.0.250"], conditions: {ready: true}}], ports: [{name: http, port: 80}]}`

// oneIngress publishes a Service at a host of its own.
func oneIngress(name, service string) *networkingv1.Ingress {
	class, prefix := "fairlead", networkingv1.PathTypePrefix
	return &networkingv1.Ingress{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "demo", Labels: map[string]string{"e2e": "crowd"}},
		Spec: networkingv1.IngressSpec{IngressClassName: &class, Rules: []networkingv1.IngressRule{{
			Host: name + ".example.test",
			IngressRuleValue: networkingv1.IngressRuleValue{HTTP: &networkingv1.HTTPIngressRuleValue{Paths: []networkingv1.HTTPIngressPath{{
				Path: "/", PathType: &prefix,
				Backend: networkingv1.IngressBackend{Service: &networkingv1.IngressServiceBackend{Name: service, Port: networkingv1.ServiceBackendPort{Name: "http"}}},
			}}}},
		}}},
	}
}

// client returns one of the API server that does not hold back.
func client(t *testing.T) kubernetes.Interface {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", lab(t).Kubeconfig())
	must(t, "", err)
	config.QPS, config.Burst = 1000, 1000
	made, err := kubernetes.NewForConfig(config)
	must(t, "", err)
	return made
}

// makeCrowd makes Ingresses, waits until all are served, and removes them when the test
// ends.
func makeCrowd(t *testing.T, api kubernetes.Interface) {
	t.Helper()
	all := api.NetworkingV1().Ingresses("demo")
	t.Cleanup(func() {
		if err := all.DeleteCollection(context.Background(), metav1.DeleteOptions{}, metav1.ListOptions{LabelSelector: crowd}); err != nil {
			t.Errorf("clean up: %v", err)
		}
	})
	started := time.Now()
	var group errgroup.Group
	group.SetLimit(8)
	for i := range *published {
		group.Go(func() error {
			service := "catalogue"
			if i%10 == 0 {
				service = "e2e-churned"
			}
			_, err := all.Create(t.Context(), oneIngress(fmt.Sprintf("e2e-crowd-%d", i), service), metav1.CreateOptions{})
			return err
		})
	}
	must(t, "", group.Wait())
	made := time.Since(started)
	// Whoever writes statuses is done, too.
	eventually(t, 5*time.Minute, func() error {
		list, err := all.List(t.Context(), metav1.ListOptions{LabelSelector: crowd, ResourceVersion: "0"})
		if err != nil {
			return err
		}
		done := 0
		for i := range list.Items {
			if len(list.Items[i].Status.LoadBalancer.Ingress) > 0 {
				done++
			}
		}
		if done != *published {
			return errorf("%d of %d Ingresses have a status", done, *published)
		}
		return nil
	})
	t.Logf("%d Ingresses are made in %s, and all have a status after %s", *published, made.Round(time.Millisecond), time.Since(started).Round(time.Millisecond))
}

// disturb changes Ingresses and endpoints, one every 50 ms, until it is told to end, and
// returns how many times.
func disturb(t *testing.T, api kubernetes.Interface) (end func() int) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	var changes atomic.Int64
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(churn)
		defer tick.Stop()
		for i := 0; ; i++ {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			var err error
			if i%4 == 0 {
				patch := fmt.Sprintf(`{"endpoints": [{"addresses": ["10.244.0.%d"], "conditions": {"ready": true}}]}`, 240+i/4%10)
				_, err = api.DiscoveryV1().EndpointSlices("demo").Patch(ctx, "e2e-churned", types.MergePatchType, []byte(patch), metav1.PatchOptions{})
			} else {
				patch := fmt.Sprintf(`{"metadata": {"annotations": {"nginx.ingress.kubernetes.io/proxy-body-size": "%dm"}}}`, i+1)
				_, err = api.NetworkingV1().Ingresses("demo").Patch(ctx, fmt.Sprintf("e2e-crowd-%d", i*7%*published), types.MergePatchType, []byte(patch), metav1.PatchOptions{})
			}
			if err != nil && ctx.Err() == nil {
				t.Errorf("a change: %v", err)
				return
			}
			changes.Add(1)
		}
	}()
	return func() int {
		cancel()
		<-done
		return int(changes.Load())
	}
}

// testPropagation measures how long after an Ingress has been sent to the API server each
// gateway answers by it, while other Ingresses and endpoints change.
func testPropagation(t *testing.T, _ []string) {
	api, program, port := client(t), buildLoad(t), gatewayPort(t, "http")
	apply(t, churned)
	apply(t, churnedSlice)
	makeCrowd(t, api)
	end := disturb(t, api)
	var waits []func() []int64
	for _, n := range nodes(t) {
		if !slices.ContainsFunc(pods(t, gatewayLabel), func(p pod) bool { return p.node == n.name }) {
			continue
		}
		waits = append(waits, started[[]int64](t, func() (string, error) {
			return fromClient(t, program, "--appear", fmt.Sprint(arriving), "--connect", hostPort(n.address, port), "--host", "e2e-arriving-%d.example.test", "--path", "/items", "--duration", "2m")
		}))
	}
	time.Sleep(time.Second) // they ask by then
	sent, answered := make([]int64, arriving), make([]int64, arriving)
	for i := range arriving {
		time.Sleep(107 * time.Millisecond) // not in step with the changes
		sent[i] = time.Now().UnixMicro()
		if _, err := api.NetworkingV1().Ingresses("demo").Create(t.Context(), oneIngress(fmt.Sprintf("e2e-arriving-%d", i+1), "catalogue"), metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		answered[i] = time.Now().UnixMicro()
	}
	var fromSent, fromAnswer []int64
	for _, wait := range waits {
		for i, at := range wait() {
			fromSent, fromAnswer = append(fromSent, at-sent[i]), append(fromAnswer, max(at-answered[i], 0))
		}
	}
	changes := end()
	if len(fromSent) != 2*arriving || changes == 0 {
		t.Fatalf("%d answers for %d Ingresses by two gateways, %d changes of others", len(fromSent), arriving, changes)
	}
	figure(t, "l7-propagation-p99", percentile(fromSent, 0.99), "ms", fmt.Sprintf("from when an Ingress is sent to the API server to the first 200 at a gateway, asked every millisecond; %d Ingresses, one at a time, at 2 gateways, beside %d others, while those and endpoints change %.0f times a second; median %s, worst %s; from the API server's answer: median %s, p99 %s, worst %s",
		arriving, *published, float64(time.Second)/float64(churn), percentile(fromSent, 0.5), percentile(fromSent, 1), percentile(fromAnswer, 0.5), percentile(fromAnswer, 0.99), percentile(fromAnswer, 1)))
	limit := 50 * time.Millisecond
	if *figures == "" {
		limit = time.Second // of a machine that does other things as well
	}
	if p99 := time.Duration(fromSent[len(fromSent)*99/100]) * time.Microsecond; p99 >= limit {
		t.Errorf("99 %% took up to %s, want less than %s", p99, limit)
	}
}

// percentile sorts microseconds, and returns in milliseconds how long a share of them took
// at most.
func percentile(took []int64, share float64) string {
	slices.Sort(took)
	return strings.TrimSpace(fmt.Sprintf("%.1f", float64(took[int(share*float64(len(took)-1))])/1000))
}
