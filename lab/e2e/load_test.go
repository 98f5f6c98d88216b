//go:build e2e

package e2e

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// loadReport is what the load program prints.
type loadReport struct {
	Attempts, Failures, Held, Broken int
	Repeated                         int
	SlowestMillis, OutageMillis      int64
	GapMillis, LossMillis            int64
	Late                             int
	Errors                           []string
}

// check expects no failure among at least so many attempts.
func (r loadReport) check(t *testing.T, what string, attempts int) {
	t.Helper()
	t.Logf("%s: %+v", what, r)
	if r.Failures > 0 || r.Broken > 0 || r.Attempts < attempts {
		t.Errorf("%s: %d of %d new connections and %d of %d held ones failed; want at least %d, all good: %v",
			what, r.Failures, r.Attempts, r.Broken, r.Held, attempts, r.Errors)
	}
}

// buildLoad builds the load program.
func buildLoad(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "load")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-ldflags", "-s -w", "-o", program, "./cmd/load")
	cmd.Dir, cmd.Env = lab(t).Source(), append(os.Environ(), "CGO_ENABLED=0")
	out, err := cmd.CombinedOutput()
	must(t, string(out), err)
	return program
}

// install puts the load program into a pod.
func (p pod) install(t *testing.T) {
	t.Helper()
	l := lab(t)
	content, err := os.ReadFile(buildLoad(t))
	if err != nil {
		t.Fatal(err)
	}
	text, err := run(t, content, l.Bin("kubectl"), "--kubeconfig", l.Kubeconfig(), "exec", "-i", "-n", p.namespace, p.name, "--",
		"sh", "-c", "cat > /tmp/load.new && chmod +x /tmp/load.new && mv /tmp/load.new /tmp/load")
	must(t, text, err)
}

// load starts the load program; the returned function waits for its report.
func (p pod) load(t *testing.T, args ...string) func() loadReport {
	t.Helper()
	return startLoad(t, func() (string, error) { return p.exec(t, append([]string{"/tmp/load"}, args...)...) })
}

// loadFromClient starts the load program outside the cluster.
func loadFromClient(t *testing.T, program string, args ...string) func() loadReport {
	t.Helper()
	return startLoad(t, func() (string, error) { return fromClient(t, append([]string{program}, args...)...) })
}

// loadFromRemote starts the load program outside the cluster and behind the routers.
func loadFromRemote(t *testing.T, program string, args ...string) func() loadReport {
	t.Helper()
	return startLoad(t, func() (string, error) { return fromRemote(t, append([]string{program}, args...)...) })
}

func startLoad(t *testing.T, start func() (string, error)) func() loadReport {
	t.Helper()
	return started[loadReport](t, start)
}

// started starts something that prints a T in JSON, and returns how to wait for that.
func started[T any](t *testing.T, start func() (string, error)) func() T {
	t.Helper()
	type result struct {
		out string
		err error
	}
	done := make(chan result, 1)
	go func() {
		out, err := start()
		done <- result{out, err}
	}()
	return func() (printed T) {
		t.Helper()
		got := <-done
		must(t, got.out, got.err)
		if err := json.Unmarshal([]byte(got.out), &printed); err != nil {
			t.Fatalf("%v in %s", err, got.out)
		}
		return printed
	}
}
