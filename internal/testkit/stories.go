// Package testkit is the frame of tests that are stories: txtar archives in a package's
// testdata, of which some files are what goes in and others what is to come out. It runs
// each as a test, compares, and with -update writes down what came out instead. It knows
// nothing of what the stories are about, and is imported by tests only.
package testkit

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"
)

var update = flag.Bool("update", false, "rewrite what the stories in testdata expect")

// Update reports whether expectations are rewritten.
func Update() bool { return *update }

// Stories has each story in testdata told, in a test named like its file. tell returns the
// story's files as they are to be, in order: what goes in as it is, and what comes out.
func Stories(t *testing.T, tell func(t *testing.T, story *txtar.Archive) []txtar.File) {
	t.Helper()
	paths, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no stories: %v", err)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) {
			story, err := txtar.ParseFile(path)
			if err != nil {
				t.Fatal(err)
			}
			files := tell(t, story)
			if *update {
				story.Files = files
				if err := os.WriteFile(path, txtar.Format(story), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			for _, problem := range differences(story.Files, files) {
				t.Errorf("run with -update if this is meant: %s", problem)
			}
		})
	}
}

// differences says how files are not as they are to be.
func differences(want, got []txtar.File) (problems []string) {
	before, after := Parts(want), Parts(got)
	for _, file := range got {
		if diff := cmp.Diff(before[file.Name], string(file.Data)); diff != "" {
			problems = append(problems, fmt.Sprintf("%s (-want +got):\n%s", file.Name, diff))
		}
	}
	for _, file := range want {
		if _, there := after[file.Name]; !there {
			problems = append(problems, fmt.Sprintf("%s is nothing that goes in or comes out", file.Name))
		}
	}
	return problems
}

// Parts returns the files of a story by name.
func Parts(files []txtar.File) map[string]string {
	parts := map[string]string{}
	for _, file := range files {
		parts[file.Name] = string(file.Data)
	}
	return parts
}

// File returns a file of a story.
func File(name, text string) txtar.File { return txtar.File{Name: name, Data: []byte(text)} }
