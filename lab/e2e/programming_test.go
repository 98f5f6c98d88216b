//go:build e2e

package e2e

import (
	"fmt"
	"os/exec"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

// appearing is how many Services are made, one at a time.
const appearing = 100

// TestNamesAppear measures how long after the API server has made a Service its name has
// an address at the DNS server of each node, as a pod there sees it.
func TestNamesAppear(t *testing.T) {
	eventually(t, 3*time.Minute, func() error { return ready(t) })
	config, err := clientcmd.BuildConfigFromFlags("", lab(t).Kubeconfig())
	must(t, "", err)
	client, err := kubernetes.NewForConfig(config)
	must(t, "", err)
	server := kubectl(t, "get", "service", "-n", "kube-system", "kube-dns", "-o", "jsonpath={.spec.clusterIP}") + ":53"
	all := probes(t)
	var waits []func() []int64
	for _, p := range all {
		p.install(t)
		waits = append(waits, started[[]int64](t, func() (string, error) {
			return p.exec(t, "/tmp/load", "--appear", fmt.Sprint(appearing), "--resolve", "e2e-new-%d.demo.svc.cluster.local", "--server", server, "--duration", "2m")
		}))
	}
	l := lab(t)
	t.Cleanup(func() {
		out, err := exec.Command(l.Bin("kubectl"), "--kubeconfig", l.Kubeconfig(), "delete", "service", "-n", "demo", "-l", "e2e=appear", "--wait=false").CombinedOutput()
		if err != nil {
			t.Errorf("clean up: %v\n%s", err, out)
		}
	})
	made := make([]int64, appearing)
	for i := range made {
		// The pods wait for the first one by then, and nothing else is to do.
		time.Sleep(100 * time.Millisecond)
		service := &corev1.Service{
			ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("e2e-new-%d", i+1), Labels: map[string]string{"e2e": "appear"}},
			Spec:       corev1.ServiceSpec{Selector: map[string]string{"app": "cart"}, Ports: []corev1.ServicePort{{Port: 80}}},
		}
		if _, err := client.CoreV1().Services("demo").Create(t.Context(), service, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		made[i] = time.Now().UnixMicro()
	}
	var took []int64
	for i, wait := range waits {
		times := wait()
		if len(times) != appearing {
			t.Fatalf("%d names have appeared on %s", len(times), all[i].node)
		}
		for j, at := range times {
			took = append(took, max(at-made[j], 0))
		}
	}
	slices.Sort(took)
	at := func(share float64) string {
		return fmt.Sprintf("%.1f", float64(took[int(share*float64(len(took)-1))])/1000)
	}
	figure(t, "dns-programming-p99", at(0.99), "ms", fmt.Sprintf("from the API server's answer that a Service is made to its address at the DNS server of a node, as a pod there sees it, asking every millisecond; %d Services, one at a time, on %d nodes; median %s, worst %s", appearing, len(all), at(0.5), at(1)))
	limit := 50 * time.Millisecond
	if *figures == "" {
		limit = time.Second // of a machine that does other things as well
	}
	if p99 := time.Duration(took[len(took)*99/100]) * time.Microsecond; p99 >= limit {
		t.Errorf("99 %% took up to %s, want less than %s", p99, limit)
	}
}
