package agent

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestWatchConfig goes through what happens to a configuration file while a
// process runs.
func TestWatchConfig(t *testing.T) {
	file := filepath.Join(t.TempDir(), "fairlead.yaml")
	write := func(content string) {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	a := bare(t, Options{ConfigFile: file})
	write("logLevel: info\n")
	synctest.Test(t, func(t *testing.T) {
		result := make(chan error, 1)
		go func() { result <- a.watchConfig(t.Context()) }()
		synctest.Wait()
		expect := func(when string, problem ...string) {
			t.Helper()
			time.Sleep(configPeriod + time.Second)
			synctest.Wait()
			problems := strings.Join(a.Status().Problems, "\n")
			for _, text := range problem {
				if !strings.Contains(problems, text) {
					t.Errorf("%s: %q is missing in %q", when, text, problems)
				}
			}
			if len(problem) == 0 && problems != "" {
				t.Errorf("%s: %s", when, problems)
			}
			if len(result) > 0 {
				t.Fatalf("%s: %v", when, <-result)
			}
		}
		expect("nothing changed")
		write("logLevle: debug\n")
		expect("misspelt", file, "is not usable, the previous configuration stays in force", "logLevle")
		expect("still misspelt", "logLevle")
		write("logLevel: loud\n")
		expect("out of range", "loud")
		write("logLevel: info\n")
		expect("put back")
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		expect("removed", "no such file")
		write("logLevel: info\n")
		expect("there again")
		write("logLevel: [\n")
		expect("not YAML", "not usable")
		write("logLevel: debug\n")
		time.Sleep(configPeriod + time.Second)
		synctest.Wait()
		select {
		case err := <-result:
			if !errors.Is(err, ErrConfigChanged) {
				t.Errorf("a valid change: %v", err)
			}
		default:
			t.Error("a valid change is not noticed")
		}
	})
}

func TestWatchConfigEnds(t *testing.T) {
	if err := bare(t, Options{}).watchConfig(t.Context()); err != nil {
		t.Errorf("without a file: %v", err)
	}
	file := filepath.Join(t.TempDir(), "fairlead.yaml")
	if err := bare(t, Options{ConfigFile: file}).watchConfig(t.Context()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the file is not there: %v", err)
	}
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := bare(t, Options{ConfigFile: file}).watchConfig(ctx); err != nil {
		t.Errorf("told to stop: %v", err)
	}
}
