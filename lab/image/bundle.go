package image

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// File is one file of an image. Exactly one of Program, Text and Link says what is in it; a File with
// none of them is a folder.
type File struct {
	// Program is a file of the host, copied as an executable.
	Program string
	Text    string
	// Link is what a symbolic link points to.
	Link string
}

// Recipe says what one image of a bundle is made of.
type Recipe struct {
	// Refs are all names of the image.
	Refs []string
	// Tree is the tarball of a file tree that Files lie on top of; empty for none.
	Tree string
	// Files by their absolute path in the image.
	Files map[string]File
	// Entrypoint and Cmd as a container's manifest has them.
	Entrypoint, Cmd []string
}

// Bundle writes several images into one tarball, in which a layer they share lies once, and returns an
// Image that stands for all of them: its ID changes when any of them does.
func Bundle(ref string, recipes []Recipe, path string) (Image, error) {
	fail := func(err error) (Image, error) { return Image{}, fmt.Errorf("build images %s: %w", ref, err) }
	trees := map[string]v1.Layer{}
	tags := map[name.Tag]v1.Image{}
	var ids []string
	for _, r := range recipes {
		img, err := r.build(trees)
		if err != nil {
			return fail(err)
		}
		id, err := img.ConfigName()
		if err != nil {
			return fail(err)
		}
		for _, ref := range r.Refs {
			tag, err := name.NewTag(ref)
			if err != nil {
				return fail(err)
			}
			tags[tag] = img
			ids = append(ids, ref+"@"+id.String())
		}
	}
	out := Image{Ref: ref, ID: strings.Join(ids, "\n"), Tarball: path}
	return out, out.place(tags)
}

// place writes the tarball, unless the one there holds the same.
func (i Image) place(tags map[name.Tag]v1.Image) error {
	if old, err := os.ReadFile(i.Tarball + ".id"); err == nil && string(old) == i.ID {
		if _, err := os.Stat(i.Tarball); err == nil {
			return nil
		}
	}
	partial := i.Tarball + ".partial" // a crash must not leave half an image under the name of a whole one
	if err := tarball.MultiWriteToFile(partial, tags); err != nil {
		return fmt.Errorf("build image %s: %w", i.Ref, err)
	}
	if err := os.Rename(partial, i.Tarball); err != nil {
		return fmt.Errorf("build image %s: %w", i.Ref, err)
	}
	return os.WriteFile(i.Tarball+".id", []byte(i.ID), 0o644)
}

// build makes the image in memory; trees keeps the layers that recipes share.
func (r Recipe) build(trees map[string]v1.Layer) (v1.Image, error) {
	var layers []v1.Layer
	if r.Tree != "" {
		if trees[r.Tree] == nil {
			layer, err := tarball.LayerFromFile(r.Tree, uncompressed()...)
			if err != nil {
				return nil, err
			}
			trees[r.Tree] = layer
		}
		layers = append(layers, trees[r.Tree])
	}
	if len(r.Files) > 0 {
		layer, err := filesLayer(r.Files)
		if err != nil {
			return nil, err
		}
		layers = append(layers, layer)
	}
	img, err := mutate.AppendLayers(empty.Image, layers...)
	if err != nil {
		return nil, err
	}
	file, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	file = file.DeepCopy()
	file.OS, file.Architecture = "linux", goarch
	file.Config = v1.Config{
		Entrypoint: r.Entrypoint, Cmd: r.Cmd,
		Env: []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
	}
	return mutate.ConfigFile(img, file)
}

// filesLayer packs files in the order of their paths, so that the same files are the same layer.
func filesLayer(files map[string]File) (v1.Layer, error) {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, path := range slices.Sorted(maps.Keys(files)) {
		f := files[path]
		header := &tar.Header{Name: strings.TrimPrefix(path, "/"), Mode: 0o644, ModTime: time.Unix(0, 0), Format: tar.FormatPAX}
		content := []byte(f.Text)
		switch {
		case f.Program != "":
			binary, err := os.ReadFile(f.Program)
			if err != nil {
				return nil, err
			}
			content, header.Mode = binary, 0o755
		case f.Link != "":
			header.Typeflag, header.Linkname, header.Mode = tar.TypeSymlink, f.Link, 0o777
		case f.Text == "":
			header.Typeflag, header.Name, header.Mode = tar.TypeDir, header.Name+"/", 0o1777
		}
		header.Size = int64(len(content))
		if err := w.WriteHeader(header); err != nil {
			return nil, err
		}
		if _, err := w.Write(content); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	open := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(buf.Bytes())), nil }
	return tarball.LayerFromOpener(open, uncompressed()...)
}
