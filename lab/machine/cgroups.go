package machine

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/fairlead-net/fairlead/lab/cgroup"
)

// mountCgroups mounts every hierarchy of the host again, at the same place, from within the machine's
// cgroup namespace. A mount made there has the machine's own folder as its root, so that a BPF program
// attached to "the root of cgroup2" sees this machine's pods and processes and no other machine's, as on
// real hardware, and runc makes its folders below it. A bind of the host's mounts would show all of them.
//
// Two layouts: cgroup2 alone at /sys/fs/cgroup; or (hybrid) a tmpfs with one folder per version 1
// hierarchy and a cgroup2 mount beside them.
func mountCgroups(s Spec, root string) error {
	if !slices.ContainsFunc(s.Hierarchies, func(h cgroup.Hierarchy) bool { return h.Mount == cgroup.Root }) {
		if err := unix.Mount("tmpfs", filepath.Join(root, cgroup.Root), "tmpfs", 0, "mode=755"); err != nil {
			return fmt.Errorf("mount %s: %w", cgroup.Root, err)
		}
	}
	for _, h := range s.Hierarchies {
		target, fstype := filepath.Join(root, h.Mount), "cgroup"
		if h.Unified {
			fstype = "cgroup2"
		}
		if err := os.MkdirAll(target, 0o755); err != nil {
			return err
		}
		const quiet = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
		if err := unix.Mount("cgroup", target, fstype, quiet, h.Options); err != nil {
			return fmt.Errorf("mount %s (%s): %w", h.Mount, h.Options, err)
		}
		if err := aliasControllers(h, root); err != nil {
			return err
		}
	}
	return nil
}

// aliasControllers links cpu -> cpu,cpuacct and the like, as distributions do for joined hierarchies.
func aliasControllers(h cgroup.Hierarchy, root string) error {
	controllers := h.Controllers()
	if len(controllers) < 2 {
		return nil
	}
	for _, controller := range controllers {
		err := os.Symlink(filepath.Base(h.Mount), filepath.Join(root, cgroup.Root, controller))
		if err != nil && !os.IsExist(err) {
			return fmt.Errorf("link controller %s: %w", controller, err)
		}
	}
	return nil
}
