package image

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// tree makes the tarball of a file tree with one program in it.
func tree(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tree.tar")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	w := tar.NewWriter(f)
	const text = "machine code"
	if err := w.WriteHeader(&tar.Header{Name: "./usr/bin/tool", Mode: 0o755, Size: int64(len(text))}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.Close(), f.Close()); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestBundleHoldsEveryImageUnderEveryName(t *testing.T) {
	base, path := tree(t), filepath.Join(t.TempDir(), "bundle.tar")
	recipes := []Recipe{
		{
			Refs: []string{"example.test/first:1", "example.test/first:2"}, Tree: base, Entrypoint: []string{"/a"}, Cmd: []string{"x"},
			Files: map[string]File{"/a": {Program: program(t, "a")}, "/b": {Link: "a"}, "/dir": {}, "/text": {Text: "t"}},
		},
		{Refs: []string{"example.test/second:1"}, Tree: base, Cmd: []string{"tool"}},
	}
	first, err := Bundle("test", recipes, path)
	if err != nil {
		t.Fatal(err)
	}
	want := []map[string]byte{
		{"usr/bin/tool": tar.TypeReg, "a": tar.TypeReg, "b": tar.TypeSymlink, "dir": tar.TypeDir, "text": tar.TypeReg},
		{"usr/bin/tool": tar.TypeReg},
	}
	for i, r := range recipes {
		for _, ref := range r.Refs {
			if diff := cmp.Diff(want[i], contents(t, path, ref, r.Entrypoint)); diff != "" {
				t.Errorf("%s: %s", ref, diff)
			}
		}
	}
	recipes[1].Cmd = []string{"other"}
	second, err := Bundle("test", recipes, path)
	if err != nil || second.ID == first.ID {
		t.Errorf("another command is the same bundle: %v, %v", second.ID, err)
	}
}

func contents(t *testing.T, path, ref string, entrypoint []string) map[string]byte {
	t.Helper()
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
	if diff := cmp.Diff(entrypoint, config.Config.Entrypoint); diff != "" {
		t.Error(diff)
	}
	files := map[string]byte{}
	flat := mutate.Extract(img)
	defer flat.Close()
	for r := tar.NewReader(flat); ; {
		header, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		files[header.Name] = header.Typeflag
	}
}

func TestExtract(t *testing.T) {
	to := filepath.Join(t.TempDir(), "tool")
	if err := Extract(tree(t), "bin/tool", to); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(to); err != nil || string(text) != "machine code" {
		t.Errorf("%q, %v", text, err)
	}
	if err := Extract(tree(t), "bin/gone", to); err == nil {
		t.Error("a missing program is no error")
	}
}

func TestRegistryHoldsEverythingUnderItsDigest(t *testing.T) {
	img, err := Static(ref, program(t, "machine code"), "/fairlead", filepath.Join(t.TempDir(), "image.tar"))
	if err != nil {
		t.Fatal(err)
	}
	files, err := Registry("/registry", "pause", "testing", img)
	if err != nil {
		t.Fatal(err)
	}
	at := func(kind, digest string) string {
		algorithm, hex, _ := strings.Cut(digest, ":")
		content := files["/registry/pause/"+kind+"/"+algorithm+"/"+hex[:2]+"/"+hex+"/data"].Text
		if got := fmt.Sprintf("%x", sha256.Sum256([]byte(content))); got != hex {
			t.Fatalf("%s %s holds %d bytes of digest %s", kind, digest, len(content), got)
		}
		return content
	}
	var list, manifest struct {
		MediaType         string
		Manifests, Layers []struct{ Digest string }
		Config            struct{ Digest string }
	}
	tag := strings.TrimSpace(files["/registry/pause/manifests/testing"].Text)
	if err := json.Unmarshal([]byte(at("manifests", tag)), &list); err != nil {
		t.Fatal(err)
	}
	if len(list.Manifests) != 1 || list.MediaType == "" {
		t.Fatalf("the list is %+v", list)
	}
	if err := json.Unmarshal([]byte(at("manifests", list.Manifests[0].Digest)), &manifest); err != nil {
		t.Fatal(err)
	}
	if manifest.Config.Digest != img.ID || len(manifest.Layers) != 1 {
		t.Errorf("the manifest is %+v, want configuration %s", manifest, img.ID)
	}
	at("blobs", manifest.Config.Digest)
	at("blobs", manifest.Layers[0].Digest)
}
