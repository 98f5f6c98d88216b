// Package build compiles the lab's programs.
//
// In: Go packages and where their programs go. Out: static programs, and a line now and then that says how
// far a long build is. It never installs anything and never changes a go.mod.
package build

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/fairlead-net/fairlead/lab/layout"
)

// Toolchain is the Go that builds everything, fetched as a module where it isn't installed.
const Toolchain = "go1.27.4"

// every is how often a long build says that it is alive.
const every = 15 * time.Second

// ErrBuild wraps what the compiler said.
var ErrBuild = errors.New("the build failed")

// Program is one call of go build.
type Program struct {
	Name string
	// Module is the folder of the Go module to build in.
	Module string
	// Packages are compiled into Output: a file for one package, a folder (ending in /) for several.
	Packages []string
	Output   string
	Tags     string
	// Stamps are -X settings of the linker.
	Stamps []string
	// Test says that Packages is one package whose tests are the program (go test -c).
	Test bool
}

// Builder runs builds and reports on Progress.
type Builder struct{ Progress io.Writer }

// Build compiles one program. A program that is up to date is left alone.
func (b Builder) Build(ctx context.Context, p Program) error {
	if err := os.MkdirAll(filepath.Dir(p.Output), 0o755); err != nil {
		return fmt.Errorf("make the folder for %s: %w", p.Name, err)
	}
	if !p.Test {
		return b.run(ctx, p, "build", "-v", "-ldflags", p.linkerFlags(), "-tags", p.Tags, "-o", p.Output)
	}
	// go test -c is silent for the minutes it takes, so what the tests import is built first; what is left
	// is one package and the link.
	imports, err := testImports(ctx, p)
	if err != nil {
		return err
	}
	of := p
	of.Packages = imports
	if err := b.run(ctx, of, "build", "-v", "-tags", p.Tags); err != nil {
		return err
	}
	return b.run(ctx, p, "test", "-c", "-ldflags", p.linkerFlags(), "-tags", p.Tags, "-o", p.Output)
}

func (p Program) linkerFlags() string {
	flags := "-s -w"
	for _, stamp := range p.Stamps {
		flags += " -X " + stamp
	}
	return flags
}

// run runs one go command on the program's packages and reports how far it is.
func (b Builder) run(ctx context.Context, p Program, args ...string) error {
	cmd := command(ctx, p.Module, append(args, p.Packages...)...)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return fmt.Errorf("build %s: %w", p.Name, err)
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("build %s (is Go installed?): %w", p.Name, err)
	}
	var compiled atomic.Int64
	done := make(chan struct{})
	go b.report(ctx, p, &compiled, done)
	complaints := watch(stderr, &compiled)
	err = cmd.Wait()
	close(done)
	if err != nil {
		return fmt.Errorf("%w: %s: %w\n%s", ErrBuild, p.Name, err, complaints)
	}
	return nil
}

// watch counts the packages that go build -v names, one a line, and returns the other lines.
func watch(stderr io.Reader, compiled *atomic.Int64) string {
	var complaints strings.Builder
	lines := bufio.NewScanner(stderr)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := lines.Text()
		if line != "" && !strings.ContainsAny(line, " \t:#") {
			compiled.Add(1)
			continue
		}
		complaints.WriteString(line + "\n")
	}
	return complaints.String()
}

func (b Builder) report(ctx context.Context, p Program, compiled *atomic.Int64, done <-chan struct{}) {
	started := time.Now()
	tick := time.NewTicker(every)
	defer tick.Stop()
	total := 0
	for {
		select {
		case <-done:
			return
		case <-tick.C:
			if total == 0 {
				total = dependencies(ctx, p)
			}
			fmt.Fprintf(b.Progress, "     %s: %d of at most %d packages compiled, %s\n",
				p.Name, compiled.Load(), total, time.Since(started).Round(time.Second))
		}
	}
}

// dependencies counts the packages of a program; cached ones are not compiled again.
func dependencies(ctx context.Context, p Program) int {
	args := append([]string{"list", "-deps", "-tags", p.Tags}, p.Packages...)
	out, err := command(ctx, p.Module, args...).Output()
	if err != nil {
		return 0 // only the progress line is the poorer for it
	}
	return strings.Count(string(out), "\n")
}

// testImports are the packages that a test program is made of, beside the one it tests.
func testImports(ctx context.Context, p Program) ([]string, error) {
	const format = `{{join .Imports "\n"}}{{"\n"}}{{join .TestImports "\n"}}{{"\n"}}{{join .XTestImports "\n"}}`
	out, err := command(ctx, p.Module, append([]string{"list", "-f", format, "-tags", p.Tags}, p.Packages...)...).Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			return nil, fmt.Errorf("%w: %s: %s", ErrBuild, p.Name, exit.Stderr)
		}
		return nil, fmt.Errorf("build %s (is Go installed?): %w", p.Name, err)
	}
	return strings.Fields(string(out)), nil
}

// ModuleFolder is where the source of a module that the lab requires lies.
func ModuleFolder(ctx context.Context, l layout.Layout, module string) (string, error) {
	out, err := command(ctx, l.Source(), "list", "-m", "-f", "{{.Dir}}", module).Output()
	if err != nil {
		return "", fmt.Errorf("find the source of %s: %w", module, err)
	}
	return strings.TrimSpace(string(out)), nil
}

func command(ctx context.Context, dir string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = dir
	// An exact toolchain: GOTOOLCHAIN=local, which some environments set, would refuse newer modules.
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOTOOLCHAIN="+Toolchain, "GOFLAGS=-buildvcs=false")
	return cmd
}
