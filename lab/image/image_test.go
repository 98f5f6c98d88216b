package image

import (
	"archive/tar"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

const ref = "ghcr.io/fairlead-net/test:dev"

func program(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestStaticHoldsTheProgramAndRunsIt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "image.tar")
	built, err := Static(ref, program(t, "machine code"), "/fairlead", path)
	if err != nil {
		t.Fatal(err)
	}
	tag, err := name.NewTag(ref)
	if err != nil {
		t.Fatal(err)
	}
	img, err := tarball.ImageFromPath(path, &tag)
	if err != nil {
		t.Fatal(err)
	}
	config, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"/fairlead"}, config.Config.Entrypoint); diff != "" {
		t.Error(diff)
	}
	unique, err := name.NewTag(built.Unique())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tarball.ImageFromPath(path, &unique); err != nil {
		t.Errorf("under its unique name: %v", err)
	}
	if id, err := img.ConfigName(); err != nil || id.String() != built.ID {
		t.Errorf("the tarball holds %v, %v; want %v", id, err, built.ID)
	}
	tree := mutate.Extract(img)
	defer tree.Close()
	modes := map[string]int64{}
	var binary []byte
	for r := tar.NewReader(tree); ; {
		header, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		modes[header.Name] = header.Mode
		if header.Name == "fairlead" {
			if binary, err = io.ReadAll(r); err != nil {
				t.Fatal(err)
			}
		}
	}
	if string(binary) != "machine code" || modes["fairlead"] != 0o755 || modes["etc/passwd"] != 0o644 {
		t.Errorf("%q %v", binary, modes)
	}
}

func TestSameInputGivesSameImage(t *testing.T) {
	dir := t.TempDir()
	build := func(text, file string) string {
		built, err := Static(ref, program(t, text), "/x", filepath.Join(dir, file))
		if err != nil {
			t.Fatal(err)
		}
		return built.ID
	}
	if build("a", "1") != build("a", "2") {
		t.Error("the same program gave two images")
	}
	if build("a", "1") == build("b", "1") {
		t.Error("another program gave the same image")
	}
}

func TestRootTakesATree(t *testing.T) {
	dir := t.TempDir()
	tree := filepath.Join(dir, "tree.tar")
	f, err := os.Create(tree)
	if err != nil {
		t.Fatal(err)
	}
	w := tar.NewWriter(f)
	if err := w.WriteHeader(&tar.Header{Name: "bin/", Typeflag: tar.TypeDir, Mode: 0o755}); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Root(ref, tree, []string{"sleep"}, filepath.Join(dir, "image.tar")); err != nil {
		t.Fatal(err)
	}
	if _, err := Root(ref, filepath.Join(dir, "missing"), nil, filepath.Join(dir, "image.tar")); err == nil {
		t.Error("a missing tree: no error")
	}
}
