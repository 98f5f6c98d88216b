package layout

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestFindWalksPastOtherModules(t *testing.T) {
	root := t.TempDir()
	deep := filepath.Join(root, "lab", "cmd")
	if err := os.MkdirAll(deep, 0o755); err != nil {
		t.Fatal(err)
	}
	write := func(path, module string) {
		if err := os.WriteFile(path, []byte("// a comment\nmodule "+module+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write(filepath.Join(root, "go.mod"), Module)
	write(filepath.Join(root, "lab", "go.mod"), Module+"/lab")
	l, err := Find(deep)
	if err != nil || l.Root != root {
		t.Errorf("found %q, %v; want %q", l.Root, err, root)
	}
	if _, err := Find(t.TempDir()); !errors.Is(err, ErrNoRoot) {
		t.Errorf("outside: %v", err)
	}
}
