package ebpf

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Remove detaches and unpins everything below directory, whether or not a Plane
// still runs on it. Connections that are open keep working; their applications
// see the backends' addresses from then on. Removing twice is no error.
func Remove(directory string) error {
	entries, err := os.ReadDir(filepath.Join(directory, linksName))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("listing the pinned links: %w", err)
	}
	var failed []error
	for _, entry := range entries {
		failed = append(failed, detach(filepath.Join(directory, linksName, entry.Name())))
	}
	// Maps go only when no program reads them any more.
	if err := errors.Join(failed...); err != nil {
		return err
	}
	if err := os.RemoveAll(directory); err != nil {
		return fmt.Errorf("unpinning the maps: %w", err)
	}
	return nil
}
