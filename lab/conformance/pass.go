package conformance

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// grace is how long ginkgo has, once told to stop, to remove what specs made and to write its report.
const grace = 2 * time.Minute

// ErrRun says that there is no report.
var ErrRun = errors.New("ginkgo ended without a report")

// Pass is one call of ginkgo.
type Pass struct {
	// Ginkgo, Suite and Kubectl are programs, Kubeconfig a file for use where the suite runs.
	Ginkgo, Suite, Kubectl, Kubeconfig string
	// Enter is the command, without its argument, that runs a program in the network to run the suite in.
	Enter []string
	// Dir gets the report and the log, named after Name.
	Dir, Name string
	Specs     []string
	// Procs is how many specs run at once, Nodes how many nodes take pods.
	Procs, Nodes int
	Limit        time.Duration
	// Progress gets a line now and then.
	Progress io.Writer
}

// Log is the file with everything the suite said.
func (p Pass) Log() string { return filepath.Join(p.Dir, p.Name+".log") }

// args are the command after Enter.
func (p Pass) args() []string {
	return []string{
		p.Ginkgo, "run", "--no-color", "--v", "--silence-skips", "--seed=1",
		"--procs=" + strconv.Itoa(p.Procs),
		"--timeout=" + p.Limit.String(), "--grace-period=" + grace.String(),
		"--output-dir=" + p.Dir, "--json-report=" + p.Name + ".json",
		"--focus=" + Focus(p.Specs),
		p.Suite, "--",
		"--provider=skeleton", "--num-nodes=" + strconv.Itoa(p.Nodes),
		"--kubeconfig=" + p.Kubeconfig, "--kubectl-path=" + p.Kubectl,
	}
}

// Run runs the pass and returns what became of its specs. Specs that fail are no error.
func (p Pass) Run(ctx context.Context) ([]Result, error) {
	if len(p.Specs) == 0 {
		return nil, nil
	}
	report := filepath.Join(p.Dir, p.Name+".json")
	if err := os.Remove(report); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("remove an old report: %w", err)
	}
	log, err := os.Create(p.Log())
	if err != nil {
		return nil, fmt.Errorf("make the suite's log: %w", err)
	}
	defer log.Close()
	argv := append(append([]string{}, p.Enter...), p.args()...)
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir = p.Dir
	counter := &counter{out: p.Progress, total: len(p.Specs), started: time.Now()}
	cmd.Stdout = io.MultiWriter(log, counter)
	cmd.Stderr = cmd.Stdout
	// A group of its own, which hears of an interrupt as a whole, as it would from a terminal. By SIGTERM:
	// who starts a command in the background has it ignore SIGINT.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = grace + 30*time.Second
	runErr := cmd.Run()
	text, err := os.ReadFile(report)
	if err != nil {
		return nil, fmt.Errorf("%w: see %s: %w", ErrRun, p.Log(), errors.Join(runErr, err))
	}
	return ReadReport(text, p.Specs)
}
