package image

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

const (
	suite  = "bookworm"
	mirror = "http://deb.debian.org/debian"
)

// slim keeps what people read, not run, out of the tree.
var slim = []string{"/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*"}

// DebianTree makes a tarball of a small Debian with these packages, in folder cache, and returns its path.
// The name carries a hash of what was asked for, so that a different wish is a different file. note tells the user about the wait.
func DebianTree(ctx context.Context, cache string, packages []string, note func(string, ...any)) (string, error) {
	args := []string{"--variant=minbase", "--quiet", "--include=" + strings.Join(packages, ",")}
	for _, path := range slim {
		args = append(args, "--dpkgopt=path-exclude="+path)
	}
	args = append(args, "--customize-hook=rm -rf \"$1\"/var/lib/apt/lists/* \"$1\"/var/cache/apt/*.bin")
	hash := sha256.Sum256([]byte(strings.Join(args, "\n")))
	tree := filepath.Join(cache, fmt.Sprintf("debian-%x.tar", hash[:6]))
	if _, err := os.Stat(tree); err == nil {
		return tree, nil
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", fmt.Errorf("make the cache folder: %w", err)
	}
	note("making a small Debian with %s (a minute or two)", strings.Join(packages, " "))
	partial := filepath.Join(cache, "partial-"+filepath.Base(tree)) // mmdebstrap goes by the ending .tar
	cmd := exec.CommandContext(ctx, "mmdebstrap", append(args, suite, partial, mirror)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("make a Debian tree with mmdebstrap (does apt-get update work?): %w\n%s", err, out)
	}
	if err := os.Rename(partial, tree); err != nil {
		return "", fmt.Errorf("keep the Debian tree: %w", err)
	}
	return tree, nil
}

// Extract copies one program out of the tarball of a file tree. name is the end of its path: where Debian
// keeps /bin has changed.
func Extract(tree, name, to string) error {
	f, err := os.Open(tree)
	if err != nil {
		return fmt.Errorf("open a file tree: %w", err)
	}
	defer f.Close()
	for r := tar.NewReader(f); ; {
		header, err := r.Next()
		if err != nil {
			return fmt.Errorf("find %s in %s: %w", name, tree, err)
		}
		if header.Typeflag != tar.TypeReg || !strings.HasSuffix(header.Name, "/"+name) {
			continue
		}
		out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o755)
		if err != nil {
			return fmt.Errorf("copy %s: %w", name, err)
		}
		_, err = io.Copy(out, r)
		return errors.Join(err, out.Close())
	}
}
