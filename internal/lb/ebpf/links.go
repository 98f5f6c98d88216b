package ebpf

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// links is the folder of pinned links and the cgroup they belong on.
type links struct {
	directory string
	cgroup    *os.File
}

func openLinks(directory, cgroup string) (*links, error) {
	path := filepath.Join(directory, linksName)
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("creating %s: %w", path, err)
	}
	root, err := os.Open(cgroup)
	if err != nil {
		return nil, fmt.Errorf("opening the cgroup root: %w", err)
	}
	return &links{directory: path, cgroup: root}, nil
}

// set makes program the one that runs at a hook of the cgroup. Nothing runs
// without it or beside it meanwhile: the program of an existing link is
// replaced atomically.
func (l *links) set(h hook, program *ebpf.Program) error {
	path := filepath.Join(l.directory, h.name)
	old, err := link.LoadPinnedLink(path, nil)
	if errors.Is(err, fs.ErrNotExist) {
		return l.attach(h, program)
	}
	if err != nil {
		return fmt.Errorf("opening the pinned link %s: %w", path, err)
	}
	defer old.Close()
	if !l.here(old, h) {
		return l.attach(h, program)
	}
	if err := old.Update(program); err != nil {
		return fmt.Errorf("replacing the program of link %s: %w", path, err)
	}
	return nil
}

// here tells whether a link is attached to this cgroup. It is not once the
// cgroup it was attached to is gone.
func (l *links) here(existing link.Link, h hook) bool {
	info, err := existing.Info()
	if err != nil || info.Cgroup() == nil {
		return false
	}
	var stat unix.Stat_t
	if err := unix.Fstat(int(l.cgroup.Fd()), &stat); err != nil {
		return false
	}
	return info.Cgroup().CgroupId == stat.Ino && ebpf.AttachType(info.Cgroup().AttachType) == h.attach
}

// attach makes a new link, which replaces the pinned one of the same name.
func (l *links) attach(h hook, program *ebpf.Program) error {
	made, err := link.AttachRawLink(link.RawLinkOptions{Target: int(l.cgroup.Fd()), Program: program, Attach: h.attach})
	if err != nil {
		return fmt.Errorf("attaching program %s to cgroup %s (%s): %w", h.name, l.cgroup.Name(), needs, err)
	}
	defer made.Close()
	// The pin appears by renaming, so that a crash leaves the old one or the new.
	path := filepath.Join(l.directory, h.name)
	fresh := path + "-new"
	if err := os.Remove(fresh); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing what an interrupted start left: %w", err)
	}
	if err := made.Pin(fresh); err != nil {
		return fmt.Errorf("pinning link %s: %w", path, err)
	}
	if err := os.Rename(fresh, path); err != nil {
		return fmt.Errorf("pinning link %s: %w", path, err)
	}
	return nil
}

// any tells whether links of an earlier process are there.
func (l *links) any() (bool, error) {
	entries, err := os.ReadDir(l.directory)
	if err != nil {
		return false, fmt.Errorf("listing the pinned links: %w", err)
	}
	return len(entries) > 0, nil
}

// prune detaches every link that is none of the named.
func (l *links) prune(keep map[string]*ebpf.Program) error {
	entries, err := os.ReadDir(l.directory)
	if err != nil {
		return fmt.Errorf("listing the pinned links: %w", err)
	}
	for _, entry := range entries {
		if keep[entry.Name()] != nil {
			continue
		}
		if err := detach(filepath.Join(l.directory, entry.Name())); err != nil {
			return err
		}
	}
	return nil
}

// detach detaches and unpins a link, whoever else still has it open.
func detach(path string) error {
	existing, err := link.LoadPinnedLink(path, nil)
	if err == nil {
		err = existing.Detach()
		existing.Close()
	}
	// ENOLINK: its cgroup is gone, and with it what was attached.
	if err != nil && !errors.Is(err, unix.ENOLINK) && !errors.Is(err, ebpf.ErrNotSupported) {
		return fmt.Errorf("detaching %s: %w", path, err)
	}
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("unpinning %s: %w", path, err)
	}
	return nil
}
