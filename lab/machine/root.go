package machine

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// enterRoot gives the machine its own file tree and makes it the root.
//
// The tree is an overlay: below it the host's root, so that the host's programs (runc, nft, a shell) are
// there; above it a tmpfs, so that nothing written inside reaches the host. On top come the file systems
// that a machine has of its own: /proc, /sys, /run, /tmp and a disk for /var/lib and /var/log. The disk is
// a folder of the host: containerd's overlays can't have an overlay as their upper layer.
func enterRoot(s Spec) error {
	// A new mount namespace starts as a copy whose mounts still propagate to the host's: cut that first.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	top := filepath.Join(s.Dir, "mnt")
	if err := unix.Mount("tmpfs", top, "tmpfs", 0, "mode=755"); err != nil {
		return fmt.Errorf("mount the upper layer: %w", err)
	}
	// Relative paths in the options: the folder's name may hold a comma or a colon.
	if err := os.Chdir(top); err != nil {
		return err
	}
	for _, dir := range []string{"upper", "work", "root"} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
	}
	if err := unix.Mount("overlay", "root", "overlay", 0, "lowerdir=/,upperdir=upper,workdir=work"); err != nil {
		return fmt.Errorf("mount the root overlay: %w", err)
	}
	root := filepath.Join(top, "root")
	for _, step := range []func(Spec, string) error{mountSystem, mountDisk, mountCgroups, writeFiles} {
		if err := step(s, root); err != nil {
			return err
		}
	}
	if err := pivot(root); err != nil {
		return err
	}
	return mask(s.Masks)
}

// mountSystem mounts the kernel's file systems. Each shows the namespace of whoever mounts it, which is
// why they must be new: /proc the PID namespace, /sys the network namespace (its class/net).
func mountSystem(_ Spec, root string) error {
	const quiet = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	for _, m := range []struct {
		source, target, fstype string
		flags                  uintptr
		data                   string
	}{
		{"proc", "proc", "proc", quiet, ""},
		{"sysfs", "sys", "sysfs", quiet, ""},
		// Each bpffs mount is an instance of its own: pins of one machine are not another's.
		{"bpf", "sys/fs/bpf", "bpf", quiet, "mode=700"},
		{"/dev", "dev", "", unix.MS_BIND | unix.MS_REC, ""},
		{"tmpfs", "dev/shm", "tmpfs", unix.MS_NOSUID | unix.MS_NODEV, ""},
		// State of the running system (sockets, containers, address leases) goes when the machine stops.
		{"tmpfs", "run", "tmpfs", unix.MS_NOSUID | unix.MS_NODEV, "mode=755"},
		{"tmpfs", "tmp", "tmpfs", unix.MS_NOSUID | unix.MS_NODEV, "mode=1777"},
	} {
		if err := unix.Mount(m.source, filepath.Join(root, m.target), m.fstype, m.flags, m.data); err != nil {
			return fmt.Errorf("mount /%s: %w", m.target, err)
		}
	}
	return nil
}

// mountDisk mounts what survives the machine's restart, and the lab's programs and logs.
func mountDisk(s Spec, root string) error {
	for _, m := range []struct{ source, target string }{
		{filepath.Join(s.Dir, "lib"), "/var/lib"},
		{filepath.Join(s.Dir, "log"), "/var/log"},
		{s.Bin, Programs},
		{s.Logs, Logs},
	} {
		target := filepath.Join(root, m.target)
		if err := os.MkdirAll(target, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(m.source, target, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("mount %s: %w", m.target, err)
		}
	}
	return nil
}

func writeFiles(s Spec, root string) error {
	for path, file := range s.Files {
		mode := os.FileMode(0o644)
		if file.Secret {
			mode = 0o600
		}
		target := filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
			return err
		}
		_ = os.Remove(target) // the host may have a symbolic link there, which must not be followed out of root
		if err := os.WriteFile(target, []byte(file.Text), mode); err != nil {
			return err
		}
	}
	for path, destination := range s.Links {
		target := filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
			return err
		}
		_ = os.Remove(target)
		if err := os.Symlink(destination, target); err != nil {
			return err
		}
	}
	return nil
}

// pivot makes root the root of the mount namespace and drops the host's.
func pivot(root string) error {
	if err := os.Chdir(root); err != nil {
		return err
	}
	// With both arguments the same folder the old root ends up on top of the new one, and can be
	// unmounted from there (pivot_root(2), "pivot_root(".", ".")").
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("change the root: %w", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("leave the host's root: %w", err)
	}
	if err := os.Chdir("/"); err != nil {
		return err
	}
	// Kubernetes expects what systemd does on a real machine: mounts made by one pod can reach others.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SHARED, ""); err != nil {
		return fmt.Errorf("share mounts inside: %w", err)
	}
	return nil
}

func mask(masks map[string]string) error {
	dir := "/run/lab/masks"
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for path, text := range masks {
		if _, err := os.Stat(path); err != nil {
			continue // a kernel without this setting needs no mask
		}
		source := filepath.Join(dir, filepath.Base(path))
		if err := os.WriteFile(source, []byte(text+"\n"), 0o644); err != nil {
			return err
		}
		if err := unix.Mount(source, path, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("mask %s: %w", path, err)
		}
	}
	return nil
}
