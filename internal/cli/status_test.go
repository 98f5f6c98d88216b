package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fairlead-net/fairlead/internal/agent"
	"github.com/fairlead-net/fairlead/internal/kube"
	"github.com/fairlead-net/fairlead/internal/reconcile"
)

func plane(name, problem string, applied, wanted uint64, notes ...string) agent.PlaneStatus {
	h := reconcile.Health{Plane: name, Problem: problem, Applied: applied, Wanted: wanted}
	if applied > 0 {
		h.AppliedAt = time.Now().Add(-90 * time.Second)
	}
	return agent.PlaneStatus{Health: h, Healthy: h.Healthy(), Notes: notes}
}

func body(t *testing.T, s agent.Status) []byte {
	t.Helper()
	content, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func TestStatusText(t *testing.T) {
	all := readStatuses([]kube.Process{
		{Namespace: "fairlead-system", Pod: "controller-1", Component: "controller", Node: "a", Answer: body(t, agent.Status{Planes: []agent.PlaneStatus{plane("status", "", 7, 7, "stands by for the lease")}})},
		{Namespace: "fairlead-system", Pod: "dns-1", Component: "dns", Node: "a", Answer: []byte("<html>")},
		{Namespace: "fairlead-system", Pod: "node-1", Component: "node", Node: "a", Answer: body(t, agent.Status{
			Problems: []string{"services cannot be read"}, Planes: []agent.PlaneStatus{plane("lb", "no space", 6, 7, "sockets", "adopted")},
		})},
		{Namespace: "fairlead-system", Pod: "node-2", Component: "node", Node: "worker-2", Answer: body(t, agent.Status{Warnings: []string{"port 10249 is taken"}, Planes: []agent.PlaneStatus{plane("lb", "", 0, 0)}})},
		{Namespace: "fairlead-system", Pod: "node-3", Component: "node", Node: "b", Problem: "CrashLoopBackOff: no cgroup2"},
	})
	var out bytes.Buffer
	if err := printStatus(&out, all); err != nil {
		t.Fatal(err)
	}
	want := `COMPONENT    NODE       PLANE    HEALTHY   REVISION   LAST CHANGE   NOTES
controller   a          status   yes       7/7        1m30s ago     stands by for the lease
dns          a          -        no        -          -             
node         a          lb       no        6/7        1m30s ago     sockets; adopted
node         worker-2   lb       no        0/0        -             
node         b          -        no        -          -             

dns on a (fairlead-system/dns-1): its status is not readable: invalid character '<' looking for beginning of value

node on a (fairlead-system/node-1): services cannot be read

node on a (fairlead-system/node-1): lb: no space

node on worker-2 (fairlead-system/node-2): lb: has applied nothing yet

node on worker-2 (fairlead-system/node-2): warning: port 10249 is taken

node on b (fairlead-system/node-3): CrashLoopBackOff: no cgroup2
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if err := unhealthy(all); err == nil || err.Error() != "4 of 5 processes are not healthy" {
		t.Errorf("unhealthy = %v", err)
	}
	if err := unhealthy(all[:1]); err != nil {
		t.Errorf("unhealthy = %v", err)
	}
}

// apiServer serves what answer knows, and leads kubectl's usual environment to it.
func apiServer(t *testing.T, answer func(r *http.Request) ([]byte, bool)) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if content, found := answer(r); found {
			_, _ = w.Write(content)
			return
		}
		http.NotFound(w, r)
	}))
	t.Cleanup(server.Close)
	file := filepath.Join(t.TempDir(), "kubeconfig")
	content := `{"apiVersion": "v1", "kind": "Config", "current-context": "test",
		"clusters": [{"name": "test", "cluster": {"server": "` + server.URL + `"}}],
		"contexts": [{"name": "test", "context": {"cluster": "test", "user": ""}}]}`
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("KUBECONFIG", file)
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
}

// cluster serves a list of pods and their statuses.
func cluster(t *testing.T, pods string, statuses map[string][]byte) {
	t.Helper()
	apiServer(t, func(r *http.Request) ([]byte, bool) {
		_, path, _ := strings.Cut(r.URL.Path, "/pods")
		if path == "" {
			return fmt.Appendf(nil, `{"kind": "PodList", "apiVersion": "v1", "items": [%s]}`, pods), true
		}
		status, ok := statuses[path]
		return status, ok
	})
}

func pod(name, component string, running bool) string {
	state := `{"running": {}}`
	if !running {
		state = `{"waiting": {"reason": "ImagePullBackOff"}}`
	}
	return `{"metadata": {"namespace": "fairlead-system", "name": "` + name + `", "labels": {"app.kubernetes.io/component": "` + component + `"}},
		"spec": {"nodeName": "a", "containers": [{"ports": [{"name": "dns", "containerPort": 53}, {"name": "metrics", "containerPort": 9153}]}]},
		"status": {"phase": "Running", "containerStatuses": [{"state": ` + state + `}]}}`
}

// TestStatusCommand asks a cluster, once all is well and once it is not.
func TestStatusCommand(t *testing.T) {
	well := map[string][]byte{
		"/node-1:9153/proxy/status": body(t, agent.Status{Node: "a", Planes: []agent.PlaneStatus{plane("lb", "", 3, 3)}}),
		"/dns-1:9153/proxy/status":  body(t, agent.Status{Node: "a", Planes: []agent.PlaneStatus{plane("dns", "", 3, 3)}}),
	}
	cluster(t, pod("node-1", "node", true)+","+pod("dns-1", "dns", true), well)
	code, out, err := run(t, "status")
	if lines := strings.Split(out, "\n"); code != 0 || err != "" || len(lines) != 4 || !strings.HasPrefix(lines[1], "dns ") || !strings.HasPrefix(lines[2], "node ") {
		t.Errorf("all is well: exit code %d\n%s%s", code, out, err)
	}
	cluster(t, pod("node-1", "node", true)+","+pod("dns-1", "dns", false)+","+pod("node-2", "node", true), well)
	code, out, err = run(t, "status", "-o", "json")
	var all []processStatus
	if problem := json.Unmarshal([]byte(out), &all); problem != nil || len(all) != 3 || code != 1 || err != "fairlead: 2 of 3 processes are not healthy\n" {
		t.Fatalf("exit code %d, %v\n%s%s", code, problem, out, err)
	}
	if all[0].Problem != "ImagePullBackOff" || all[1].Problem != "" || all[1].Status == nil ||
		!strings.HasPrefix(all[2].Problem, "does not answer: ") || !strings.HasSuffix(all[2].Problem, "; see: kubectl -n fairlead-system logs node-2") {
		t.Errorf("problems %+v", all)
	}
	cluster(t, "", nil)
	if code, out, err := run(t, "status"); code != 1 || out != "" || err != "fairlead: no Fairlead pods in this cluster; install it with: fairlead install\n" {
		t.Errorf("not installed: exit code %d\n%s%s", code, out, err)
	}
}
