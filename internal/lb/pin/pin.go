// Package pin keeps BPF maps in a folder of a BPF file system, so that they
// outlive the process, and tells those of one layout from those of another.
//
// In goes a Layout; out come open maps, found or made, and the name of their
// folder, maps-vVERSION-FINGERPRINT. It never reads or writes what is in a map,
// and attaches no program.
package pin

import (
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
)

const prefix = "maps-v"

// Layout is what one version of a program's maps looks like.
type Layout struct {
	// Version is that of what keys and values mean; a program of another version
	// would misread the maps.
	Version int
	// Specs are the maps by name.
	Specs map[string]*ebpf.MapSpec
	// Carried are the names of maps whose content only the programs write. They are
	// taken over from another folder of the same version, so that open connections
	// keep their way.
	Carried []string
}

// Maps are the maps of one folder, by name.
type Maps map[string]*ebpf.Map

// Close lets go of the maps; what is pinned stays.
func (m Maps) Close() {
	for _, each := range m {
		each.Close()
	}
}

// fingerprint tells layouts apart that share a version: types and sizes, of maps
// in maps too.
func (l Layout) fingerprint() string {
	hash := fnv.New32a()
	for _, name := range slices.Sorted(maps.Keys(l.Specs)) {
		s := l.Specs[name]
		fmt.Fprintln(hash, name, uint32(s.Type), s.KeySize, s.ValueSize, s.MaxEntries, s.Flags)
		if inner := s.InnerMap; inner != nil {
			fmt.Fprintln(hash, "holds", uint32(inner.Type), inner.KeySize, inner.ValueSize, inner.MaxEntries, inner.Flags)
		}
	}
	return fmt.Sprintf("%08x", hash.Sum32())
}

// stem is how the names of all folders of the Layout's version begin.
func (l Layout) stem() string { return fmt.Sprintf("%s%d-", prefix, l.Version) }

// Open opens or creates the maps and returns the name of their folder below
// directory. A folder of the right name whose maps do not
// fit was tampered with; it may be in use, so it is left for later removal.
func (l Layout) Open(directory string) (Maps, string, error) {
	for _, suffix := range []string{"", "-b", "-c", "-d"} {
		folder := l.stem() + l.fingerprint() + suffix
		opened, err := l.openFolder(directory, folder)
		if errors.Is(err, ebpf.ErrMapIncompatible) {
			continue
		}
		return opened, folder, err
	}
	return nil, "", fmt.Errorf("every folder of maps below %s was tampered with: uninstall and install again", directory)
}

func (l Layout) openFolder(directory, folder string) (_ Maps, err error) {
	path := filepath.Join(directory, folder)
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("creating %s: %w", path, err)
	}
	opened := Maps{}
	defer func() {
		if err != nil {
			opened.Close()
		}
	}()
	for name, spec := range l.Specs {
		m, err := ebpf.LoadPinnedMap(filepath.Join(path, name), nil)
		if errors.Is(err, fs.ErrNotExist) {
			m, err = l.create(directory, folder, name)
		}
		if err != nil {
			return nil, fmt.Errorf("map %s: %w", name, err)
		}
		opened[name] = m
		if err := spec.Compatible(m); err != nil {
			return nil, fmt.Errorf("map %s in %s: %w", name, path, err)
		}
	}
	return opened, nil
}

// create pins a map in a folder: a new one, or that of another folder of the
// same layout if its content is to be carried over.
func (l Layout) create(directory, folder, name string) (*ebpf.Map, error) {
	m := l.inherited(directory, name)
	if m == nil {
		var err error
		if m, err = ebpf.NewMap(l.Specs[name]); err != nil {
			return nil, fmt.Errorf("creating it (needs CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON, or CAP_SYS_ADMIN): %w", err)
		}
	}
	if err := m.Pin(filepath.Join(directory, folder, name)); err != nil {
		m.Close()
		return nil, fmt.Errorf("pinning it: %w", err)
	}
	return m, nil
}

// inherited returns an unpinned handle to a map of another folder, or nil.
func (l Layout) inherited(directory, name string) *ebpf.Map {
	if !slices.Contains(l.Carried, name) {
		return nil
	}
	for _, folder := range Folders(directory) {
		if !strings.HasPrefix(folder, l.stem()) {
			continue
		}
		m, err := ebpf.LoadPinnedMap(filepath.Join(directory, folder, name), nil)
		if err != nil {
			continue
		}
		// Pinning a handle that came from a pin would move the pin.
		clone, err := m.Clone()
		m.Close()
		if err != nil {
			continue
		}
		if l.Specs[name].Compatible(clone) == nil {
			return clone
		}
		clone.Close()
	}
	return nil
}

// Folders returns the names of all folders of maps below directory.
func Folders(directory string) []string {
	entries, _ := os.ReadDir(directory)
	var folders []string
	for _, entry := range entries {
		if strings.HasPrefix(entry.Name(), prefix) {
			folders = append(folders, entry.Name())
		}
	}
	return folders
}
