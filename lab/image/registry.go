package image

import (
	"encoding/json"
	"fmt"
	"io"
	"path"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// Registry lays an image out below folder top as the files that agnhost's fake registry serves it from:
// REPOSITORY/manifests/TAG holds the digest of a list of images, and a digest ALGORITHM:HEX lies at
// ALGORITHM/HE/HEX/data, below manifests or blobs.
func Registry(top, repository, tag string, img Image) (map[string]File, error) {
	fail := func(err error) (map[string]File, error) {
		return nil, fmt.Errorf("lay out image %s as a registry: %w", img.Ref, err)
	}
	ref, err := name.NewTag(img.Ref)
	if err != nil {
		return fail(err)
	}
	one, err := tarball.ImageFromPath(img.Tarball, &ref)
	if err != nil {
		return fail(err)
	}
	files := map[string]File{}
	put := func(kind string, digest v1.Hash, content []byte) {
		files[path.Join(top, repository, kind, digest.Algorithm, digest.Hex[:2], digest.Hex, "data")] = File{Text: string(content)}
	}
	if err := putImage(put, one); err != nil {
		return fail(err)
	}
	index := mutate.AppendManifests(empty.Index, mutate.IndexAddendum{
		Add: one, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: goarch}},
	})
	list, err := index.RawManifest()
	if err != nil {
		return fail(err)
	}
	digest, err := index.Digest()
	if err != nil {
		return fail(err)
	}
	put("manifests", digest, list)
	files[path.Join(top, repository, "manifests", tag)] = File{Text: digest.String() + "\n"}
	return files, nil
}

// putImage puts an image's manifest, configuration and layers.
func putImage(put func(kind string, digest v1.Hash, content []byte), img v1.Image) error {
	manifest, err := img.RawManifest()
	if err != nil {
		return err
	}
	digest, err := img.Digest()
	if err != nil {
		return err
	}
	put("manifests", digest, manifest)
	config, err := img.RawConfigFile()
	if err != nil {
		return err
	}
	var parsed v1.Manifest
	if err := json.Unmarshal(manifest, &parsed); err != nil {
		return err
	}
	put("blobs", parsed.Config.Digest, config)
	for _, described := range parsed.Layers {
		layer, err := img.LayerByDigest(described.Digest)
		if err != nil {
			return err
		}
		content, err := layer.Compressed() // as it is described, which may be uncompressed
		if err != nil {
			return err
		}
		blob, err := io.ReadAll(content)
		if err != nil {
			return err
		}
		put("blobs", described.Digest, blob)
	}
	return nil
}
