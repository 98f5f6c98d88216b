package ebpf

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/cilium/ebpf"
)

// servingName is a second pin of the frontends that the links' programs read.
// What a program reads could be asked of the kernel by the program's number,
// but that takes CAP_SYS_ADMIN, which is as good as everything.
const servingName = "serving"

// servesOthers tells whether links run programs over other maps than these, or
// may do so, as a process that switched them may have died on the way.
func (p *Plane) servesOthers() (bool, error) {
	attached, err := p.links.any()
	if err != nil || !attached {
		return false, err
	}
	serving, err := ebpf.LoadPinnedMap(filepath.Join(p.config.Directory, servingName), nil)
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("opening the pin of the maps in use: %w", err)
	}
	defer serving.Close()
	theirs, err := mapID(serving)
	if err != nil {
		return false, err
	}
	ours, err := mapID(p.maps[socketMapFrontends])
	return theirs != ours, err
}

// noteServing says, once every link is switched, that they read these maps.
func (p *Plane) noteServing() error {
	path := filepath.Join(p.config.Directory, servingName)
	fresh := path + "-new"
	if err := os.Remove(fresh); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing what an interrupted start left: %w", err)
	}
	second, err := p.maps[socketMapFrontends].Clone()
	if err != nil {
		return fmt.Errorf("pinning the maps in use: %w", err)
	}
	defer second.Close()
	if err := second.Pin(fresh); err != nil {
		return fmt.Errorf("pinning the maps in use: %w", err)
	}
	if err := os.Rename(fresh, path); err != nil {
		return fmt.Errorf("pinning the maps in use: %w", err)
	}
	return nil
}

func mapID(m *ebpf.Map) (ebpf.MapID, error) {
	info, err := m.Info()
	if err != nil {
		return 0, fmt.Errorf("reading about %s: %w", m, err)
	}
	id, _ := info.ID()
	return id, nil
}
