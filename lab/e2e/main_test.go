//go:build e2e

// Package e2e tests Fairlead on the lab, as a user has it: installed by its own
// chart on a real Kubernetes. Run it with 'make e2e'. It takes the lab as it is
// and leaves it as it was.
package e2e

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/fairlead-net/fairlead/lab/layout"
)

// lab finds the lab of this repository.
func lab(t *testing.T) layout.Layout {
	t.Helper()
	l, err := layout.Find(".")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(l.Kubeconfig()); err != nil {
		t.Fatalf("no lab is running (%v): make up", err)
	}
	return l
}

// run runs a program and returns what it printed on both streams.
func run(t *testing.T, input []byte, program string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Stdin = bytes.NewReader(input)
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

func must(t *testing.T, out string, err error) string {
	t.Helper()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return out
}

func kubectl(t *testing.T, args ...string) string {
	t.Helper()
	out, err := tryKubectl(t, args...)
	return must(t, out, err)
}

func tryKubectl(t *testing.T, args ...string) (string, error) {
	t.Helper()
	l := lab(t)
	return run(t, nil, l.Bin("kubectl"), append([]string{"--kubeconfig", l.Kubeconfig()}, args...)...)
}

// apply applies a manifest now and deletes it when the test ends.
func apply(t *testing.T, manifest string) {
	t.Helper()
	l := lab(t)
	out, err := run(t, []byte(manifest), l.Bin("kubectl"), "--kubeconfig", l.Kubeconfig(), "apply", "-f", "-")
	must(t, out, err)
	t.Cleanup(func() {
		cmd := exec.Command(l.Bin("kubectl"), "--kubeconfig", l.Kubeconfig(), "delete", "--ignore-not-found", "--wait=false", "-f", "-")
		cmd.Stdin = strings.NewReader(manifest)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("clean up: %v\n%s", err, out)
		}
	})
}

func fairlead(t *testing.T, args ...string) (string, error) {
	t.Helper()
	l := lab(t)
	return run(t, nil, l.Bin("fairlead"), append(args, "--kubeconfig", l.Kubeconfig())...)
}

// upgrade sets values of the installed chart, each as KEY=VALUE. It works when a test
// cleans up as well: the test's own context has ended by then.
func upgrade(t *testing.T, values ...string) {
	t.Helper()
	l := lab(t)
	args := []string{"upgrade", "--kubeconfig", l.Kubeconfig()}
	for _, value := range values {
		args = append(args, "--set", value)
	}
	if out, err := exec.Command(l.Bin("fairlead"), args...).CombinedOutput(); err != nil {
		t.Fatalf("fairlead upgrade, setting %s: %v\n%s", strings.Join(values, " "), err, out)
	}
}

// eventually repeats a check until it passes or the time is over.
func eventually(t *testing.T, limit time.Duration, check func() error) {
	t.Helper()
	deadline := time.Now().Add(limit)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("after %s: %v", limit, err)
		}
		time.Sleep(500 * time.Millisecond)
	}
}

// pod is one pod and where it runs.
type pod struct{ namespace, name, node string }

// pods returns the pods with a label, in order of their nodes.
func pods(t *testing.T, label string) []pod {
	t.Helper()
	out := kubectl(t, "get", "pods", "-A", "-l", label, "--sort-by", ".spec.nodeName", "-o",
		`jsonpath={range .items[*]}{.metadata.namespace} {.metadata.name} {.spec.nodeName}{"\n"}{end}`)
	var all []pod
	for line := range strings.Lines(out) {
		if f := strings.Fields(line); len(f) == 3 {
			all = append(all, pod{f[0], f[1], f[2]})
		}
	}
	return all
}

// probes returns one pod with tools per node.
func probes(t *testing.T) []pod {
	t.Helper()
	all := pods(t, "fairlead.dev/probe=true")
	if len(all) < 2 {
		t.Fatalf("%d probe pods, want one per node: is the demo deployed?", len(all))
	}
	return all
}

// exec runs a command in a pod.
func (p pod) exec(t *testing.T, command ...string) (string, error) {
	t.Helper()
	return tryKubectl(t, append([]string{"exec", "-n", p.namespace, p.name, "--"}, command...)...)
}

// processes returns the ids of the processes that run Fairlead with a plane.
func processes(t *testing.T, plane string) []int {
	t.Helper()
	return commands(t, func(args []string) bool { return runs(args, plane) })
}

// runs tells whether a command line is that of Fairlead with a plane.
func runs(args []string, plane string) bool {
	return len(args) > 2 && filepath.Base(args[0]) == "fairlead" && args[1] == "agent" && slices.ContainsFunc(args, func(arg string) bool {
		planes, is := strings.CutPrefix(arg, "--planes=")
		return is && slices.Contains(strings.Split(planes, ","), plane)
	})
}

// commands returns the ids of the processes of this machine, the lab's nodes
// included, whose command line fits.
func commands(t *testing.T, fits func(args []string) bool) []int {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	var ids []int
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil || len(content) == 0 {
			continue // it ended meanwhile, or is the kernel's
		}
		if fits(strings.Split(strings.TrimSuffix(string(content), "\x00"), "\x00")) {
			id, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
			if err != nil {
				t.Fatal(err)
			}
			ids = append(ids, id)
		}
	}
	return ids
}

// ready tells whether every Fairlead process is healthy, by the product's own
// command.
func ready(t *testing.T) error {
	if out, err := fairlead(t, "status"); err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	return nil
}
