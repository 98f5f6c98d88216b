package ebpf

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

const (
	// layout is the version of what keys and values mean; raise it whenever a
	// program of the version before would misread the maps.
	layout = 2

	mapsPrefix = "maps-v"
	linksName  = "links"
)

// carried are the maps whose content only the programs write. They outlive a
// change of sizes, so that open connections keep their translations.
var carried = []string{socketMapConnected, socketMapUnconnected, socketMapAffinity}

// pinnedMaps are the maps of one folder, by name.
type pinnedMaps map[string]*ebpf.Map

func (m pinnedMaps) close() {
	for _, each := range m {
		each.Close()
	}
}

// fingerprint tells map layouts apart that share a version: types and sizes.
func fingerprint(specs map[string]*ebpf.MapSpec) string {
	hash := fnv.New32a()
	for _, name := range slices.Sorted(maps.Keys(specs)) {
		s := specs[name]
		fmt.Fprintln(hash, name, uint32(s.Type), s.KeySize, s.ValueSize, s.MaxEntries, s.Flags)
	}
	return fmt.Sprintf("%08x", hash.Sum32())
}

// openMaps opens or creates the maps that fit specs and returns the name of
// their folder below directory. A folder of the right name whose maps do not
// fit was tampered with; it may be in use, so it is left for later removal.
func openMaps(directory string, specs map[string]*ebpf.MapSpec) (pinnedMaps, string, error) {
	stem := fmt.Sprintf("%s%d-", mapsPrefix, layout)
	for _, suffix := range []string{"", "-b", "-c", "-d"} {
		folder := stem + fingerprint(specs) + suffix
		opened, err := openFolder(directory, folder, specs)
		if errors.Is(err, ebpf.ErrMapIncompatible) {
			continue
		}
		return opened, folder, err
	}
	return nil, "", fmt.Errorf("every folder of maps below %s was tampered with: uninstall and install again", directory)
}

func openFolder(directory, folder string, specs map[string]*ebpf.MapSpec) (_ pinnedMaps, err error) {
	path := filepath.Join(directory, folder)
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("creating %s: %w", path, err)
	}
	opened := pinnedMaps{}
	defer func() {
		if err != nil {
			opened.close()
		}
	}()
	for name, spec := range specs {
		m, err := ebpf.LoadPinnedMap(filepath.Join(path, name), nil)
		if errors.Is(err, fs.ErrNotExist) {
			m, err = createMap(directory, folder, name, spec)
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

// createMap pins a map in a folder: a new one, or that of another folder of the
// same layout if its content is to be carried over.
func createMap(directory, folder, name string, spec *ebpf.MapSpec) (*ebpf.Map, error) {
	m := inherited(directory, name, spec)
	if m == nil {
		var err error
		if m, err = ebpf.NewMap(spec); err != nil {
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
func inherited(directory, name string, spec *ebpf.MapSpec) *ebpf.Map {
	if !slices.Contains(carried, name) {
		return nil
	}
	for _, folder := range mapFolders(directory) {
		if !strings.HasPrefix(folder, fmt.Sprintf("%s%d-", mapsPrefix, layout)) {
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
		if spec.Compatible(clone) == nil {
			return clone
		}
		clone.Close()
	}
	return nil
}

// mapFolders returns the names of all folders of maps below directory.
func mapFolders(directory string) []string {
	entries, _ := os.ReadDir(directory)
	var folders []string
	for _, entry := range entries {
		if strings.HasPrefix(entry.Name(), mapsPrefix) {
			folders = append(folders, entry.Name())
		}
	}
	return folders
}
