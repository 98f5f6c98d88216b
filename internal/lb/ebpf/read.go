package ebpf

import (
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"

	"github.com/cilium/ebpf"

	"github.com/fairlead-net/fairlead/internal/lb"
	"github.com/fairlead-net/fairlead/internal/lb/pin"
)

// attempts bounds how often a lookup starts again because its frontend was
// switched to another list meanwhile.
const attempts = 10

// Reader reads the maps that the attached programs use. It changes nothing and
// works beside a Plane of another process.
type Reader struct{ maps pin.Maps }

// Open finds the maps that the programs pinned below directory use.
func Open(directory string) (*Reader, error) {
	serving, err := ebpf.LoadPinnedMap(filepath.Join(directory, servingName), &ebpf.LoadPinOptions{ReadOnly: true})
	if err != nil {
		return nil, fmt.Errorf("no attached programs below %s: %w", directory, err)
	}
	defer serving.Close()
	used, err := mapID(serving)
	if err != nil {
		return nil, err
	}
	for _, folder := range pin.Folders(directory) {
		opened, err := openForReading(filepath.Join(directory, folder))
		if err != nil {
			return nil, err
		}
		id, err := mapID(opened[socketMapFrontends])
		if err == nil && id == used {
			return &Reader{maps: opened}, nil
		}
		opened.Close()
	}
	return nil, fmt.Errorf("the attached programs use maps that are not pinned below %s", directory)
}

func openForReading(folder string) (pin.Maps, error) {
	opened := pin.Maps{}
	for _, name := range []string{socketMapFrontends, socketMapBackends, socketMapMembers} {
		m, err := ebpf.LoadPinnedMap(filepath.Join(folder, name), &ebpf.LoadPinOptions{ReadOnly: true})
		if err != nil {
			opened.Close()
			return nil, fmt.Errorf("opening map %s: %w", name, err)
		}
		opened[name] = m
	}
	return opened, nil
}

// Close lets go of the maps.
func (r *Reader) Close() error {
	r.maps.Close()
	return nil
}

// Dump returns what the maps say, without the Services' names.
func (r *Reader) Dump() (map[lb.Frontend]*lb.Entry, error) {
	contents, err := readAll(r.maps)
	if err != nil {
		return nil, err
	}
	entries := make(map[lb.Frontend]*lb.Entry, len(contents.frontends))
	for f, have := range contents.frontends {
		if have.entry != nil {
			entries[f] = have.entry
			continue
		}
		// Its list was replaced while the maps were read.
		entry, found, err := r.Lookup(f)
		if err != nil {
			return nil, err
		}
		if found {
			entries[f] = entry
		}
	}
	return entries, nil
}

// Lookup returns what the maps say about one frontend, and whether they have it.
func (r *Reader) Lookup(f lb.Frontend) (*lb.Entry, bool, error) {
	for range attempts {
		var value socketFrontend
		err := r.maps[socketMapFrontends].Lookup(keyOf(f), &value)
		if errors.Is(err, ebpf.ErrKeyNotExist) {
			return nil, false, nil
		}
		if err != nil {
			return nil, false, fmt.Errorf("looking up %s: %w", f, err)
		}
		backends, err := r.list(value)
		if errors.Is(err, ebpf.ErrKeyNotExist) {
			continue
		}
		if err != nil {
			return nil, false, fmt.Errorf("looking up the backends of %s: %w", f, err)
		}
		return value.entry(backends), true, nil
	}
	return nil, false, fmt.Errorf("the backends of %s are not all there", f)
}

func (r *Reader) list(value socketFrontend) ([]netip.AddrPort, error) {
	var backends []netip.AddrPort
	for number := range value.Count {
		var backend socketEndpoint
		if err := r.maps[socketMapBackends].Lookup(socketSlot{List: value.List, Number: number}, &backend); err != nil {
			return nil, err
		}
		backends = append(backends, backend.addrPort())
	}
	return backends, nil
}
