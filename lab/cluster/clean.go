package cluster

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/fairlead-net/fairlead/lab/cgroup"
)

// patience with processes that are slow to die (a write to a disk that is busy, say).
const patience = 60 * time.Second

// clean ends every process in the lab's cgroup folder and removes the machines' disks. Everything else the
// lab makes (namespaces, mounts, links, BPF pins) exists only as long as one of those processes.
func (c *Cluster) clean(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := cgroup.Remove(ctx, c.hierarchies, ""); err != nil {
		return err
	}
	for _, path := range []string{
		c.Layout.State(), c.Layout.Kubeconfig(), c.Layout.InnerKubeconfig(), c.Layout.Machines(),
	} {
		if err := os.RemoveAll(path); err != nil {
			return fmt.Errorf("remove what the lab wrote: %w", err)
		}
	}
	return nil
}
