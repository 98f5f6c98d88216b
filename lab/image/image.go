// Package image builds container images from the tree, without a daemon or a registry.
//
// In: programs and file trees. Out: image tarballs under the names that manifests use. The same input
// gives the same image. It never pulls and never pushes.
package image

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/compression"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// nonroot is the user that images without a need for privileges name.
const nonroot = 65532

// Image is a built image and what identifies its content.
type Image struct {
	// Ref is the name under which it is loaded.
	Ref string
	// ID is the digest of its configuration, which covers every layer.
	ID string
	// Tarball is the file that holds it, under Ref and under Unique.
	Tarball string
}

// Unique is a name that no other content has had, for whoever must notice a new image by its name.
func (i Image) Unique() string {
	_, hex, _ := strings.Cut(i.ID, ":")
	return i.Ref + "-" + hex[:12]
}

// Static builds an image with nothing in it but one static program, which it runs.
func Static(ref, program, inside, tarballPath string) (Image, error) {
	layer, err := staticLayer(program, inside)
	if err != nil {
		return Image{}, fmt.Errorf("build image %s: %w", ref, err)
	}
	return write(ref, tarballPath, layer, v1.Config{Entrypoint: []string{inside}})
}

// Root builds an image of a whole file tree, given as a tarball.
func Root(ref, tree string, cmd []string, tarballPath string) (Image, error) {
	layer, err := tarball.LayerFromFile(tree, uncompressed()...)
	if err != nil {
		return Image{}, fmt.Errorf("build image %s: %w", ref, err)
	}
	return write(ref, tarballPath, layer, v1.Config{Cmd: cmd})
}

// uncompressed: images go from disk to disk, so compressing and expanding them would be for nothing.
func uncompressed() []tarball.LayerOption {
	return []tarball.LayerOption{
		tarball.WithCompression(compression.None),
		tarball.WithMediaType(types.DockerUncompressedLayer),
	}
}

// staticLayer holds the program and the few files that a Go program may look for.
func staticLayer(program, inside string) (v1.Layer, error) {
	binary, err := os.ReadFile(program)
	if err != nil {
		return nil, err
	}
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	users := fmt.Sprintf("root:x:0:0:root:/:/sbin/nologin\nnonroot:x:%d:%d:nonroot:/:/sbin/nologin\n", nonroot, nonroot)
	groups := fmt.Sprintf("root:x:0:\nnonroot:x:%d:\n", nonroot)
	for _, f := range []struct {
		name string
		mode int64
		text []byte
	}{
		{"etc/", 0o755, nil},
		{"etc/passwd", 0o644, []byte(users)},
		{"etc/group", 0o644, []byte(groups)},
		{"etc/ssl/", 0o755, nil},
		{"etc/ssl/certs/", 0o755, nil},
		{"run/", 0o755, nil},
		{"tmp/", 0o1777, nil},
		{inside[1:], 0o755, binary},
	} {
		header := &tar.Header{Name: f.name, Mode: f.mode, Size: int64(len(f.text)), ModTime: time.Unix(0, 0), Format: tar.FormatPAX}
		if f.text == nil {
			header.Typeflag = tar.TypeDir
		}
		if err := w.WriteHeader(header); err != nil {
			return nil, err
		}
		if _, err := w.Write(f.text); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	open := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(buf.Bytes())), nil }
	return tarball.LayerFromOpener(open, uncompressed()...)
}

// write puts the image's tarball in place, unless the one there is the same.
func write(ref, path string, layer v1.Layer, config v1.Config) (Image, error) {
	fail := func(err error) (Image, error) { return Image{}, fmt.Errorf("build image %s: %w", ref, err) }
	img, err := mutate.AppendLayers(empty.Image, layer)
	if err != nil {
		return fail(err)
	}
	file, err := img.ConfigFile()
	if err != nil {
		return fail(err)
	}
	file = file.DeepCopy()
	file.OS, file.Architecture, file.Config = "linux", goarch, config
	if img, err = mutate.ConfigFile(img, file); err != nil {
		return fail(err)
	}
	id, err := img.ConfigName()
	if err != nil {
		return fail(err)
	}
	out := Image{Ref: ref, ID: id.String(), Tarball: path}
	tags := map[name.Tag]v1.Image{}
	for _, ref := range []string{out.Ref, out.Unique()} {
		tag, err := name.NewTag(ref)
		if err != nil {
			return fail(err)
		}
		tags[tag] = img
	}
	return out, out.place(tags)
}
