package cluster

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/fairlead-net/fairlead/lab/cgroup"
)

// patience with processes that are slow to die (a write to a disk that is busy, say).
const patience = 60 * time.Second

// clean ends every process in the lab's cgroup folder and forgets the machines. Everything else the lab
// makes (namespaces, mounts, links, BPF pins) exists only as long as one of those processes. The disks are
// only moved aside: removing tens of thousands of files can take longer than starting a new cluster.
func (c *Cluster) clean(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := cgroup.Remove(ctx, c.hierarchies, ""); err != nil {
		return err
	}
	for _, path := range []string{c.Layout.State(), c.Layout.Kubeconfig(), c.Layout.InnerKubeconfig()} {
		if err := os.RemoveAll(path); err != nil {
			return fmt.Errorf("remove what the lab wrote: %w", err)
		}
	}
	aside := fmt.Sprintf("%s-%d", c.Layout.Machines(), time.Now().UnixNano())
	if err := os.Rename(c.Layout.Machines(), aside); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("move the old disks aside: %w", err)
	}
	return nil
}

// removeDisks removes the disks that clean moved aside, now or before a crash.
func (c *Cluster) removeDisks(context.Context) error {
	old, err := filepath.Glob(c.Layout.Machines() + "-*")
	if err != nil {
		return fmt.Errorf("find old disks: %w", err)
	}
	for _, dir := range old {
		if err := os.RemoveAll(dir); err != nil {
			return fmt.Errorf("remove old disks: %w", err)
		}
	}
	return nil
}
