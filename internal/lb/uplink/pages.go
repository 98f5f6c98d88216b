package uplink

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/cilium/ebpf"
)

// span is a range of slots in one page.
type span struct{ page, offset, slots uint32 }

func (s span) end() uint32 { return s.offset + s.slots }

// pages hands out ranges of slots. Pages are made as they are needed, and stay.
type pages struct {
	folder string
	spec   *ebpf.MapSpec // of a page
	outer  *ebpf.Map
	all    []*ebpf.Map
	used   [][]span // per page, sorted by offset
}

const pageName = "page-%d"

// openPages opens the pages that are pinned in a folder.
func openPages(folder string, outer *ebpf.Map, spec *ebpf.MapSpec) (*pages, error) {
	p := &pages{folder: folder, outer: outer, spec: spec}
	for {
		path := filepath.Join(folder, fmt.Sprintf(pageName, len(p.all)))
		if _, err := os.Stat(path); err != nil {
			return p, nil
		}
		page, err := ebpf.LoadPinnedMap(path, nil)
		if err == nil {
			err = p.add(page)
		}
		if err != nil {
			p.close()
			return nil, fmt.Errorf("opening %s: %w", path, err)
		}
	}
}

func (p *pages) close() {
	for _, page := range p.all {
		page.Close()
	}
}

// add makes a page known to the programs; being told twice does no harm.
func (p *pages) add(page *ebpf.Map) error {
	if err := p.outer.Put(uint32(len(p.all)), page); err != nil {
		return err
	}
	p.all, p.used = append(p.all, page), append(p.used, nil)
	return nil
}

func (p *pages) grow() error {
	if uint32(len(p.all)) == p.outer.MaxEntries() {
		return unfit(fmt.Sprintf("all %d pages of slots are full", len(p.all)))
	}
	page, err := ebpf.NewMap(p.spec)
	if err != nil {
		return fmt.Errorf("creating a page of slots: %w", err)
	}
	// Pinned first: what the programs know must be found again.
	path := filepath.Join(p.folder, fmt.Sprintf(pageName, len(p.all)))
	if err = page.Pin(path); err == nil {
		err = p.add(page)
	}
	if err != nil {
		page.Close()
		_ = os.Remove(path)
		return fmt.Errorf("adding a page of slots: %w", err)
	}
	return nil
}

// take reserves a range in the first page that has room.
func (p *pages) take(slots int) (span, error) {
	for number := 0; ; number++ {
		if number == len(p.all) {
			if err := p.grow(); err != nil {
				return span{}, err
			}
		}
		used, start := p.used[number], uint32(0)
		at := slices.IndexFunc(used, func(s span) bool {
			fits := s.offset-start >= uint32(slots)
			if !fits {
				start = s.end()
			}
			return fits
		})
		if at < 0 && p.all[number].MaxEntries()-start < uint32(slots) {
			continue
		}
		if at < 0 {
			at = len(used)
		}
		made := span{page: uint32(number), offset: start, slots: uint32(slots)}
		p.used[number] = slices.Insert(used, at, made)
		return made, nil
	}
}

// reserve marks a range as used that the kernel has already.
func (p *pages) reserve(s span) bool {
	if int(s.page) >= len(p.all) || s.slots == 0 || s.offset > p.all[s.page].MaxEntries() || s.slots > p.all[s.page].MaxEntries()-s.offset {
		return false
	}
	at, taken := slices.BinarySearchFunc(p.used[s.page], s, compareSpans)
	used := p.used[s.page]
	if taken || at > 0 && used[at-1].end() > s.offset || at < len(used) && s.end() > used[at].offset {
		return false
	}
	p.used[s.page] = slices.Insert(used, at, s)
	return true
}

func compareSpans(a, b span) int { return int(a.offset) - int(b.offset) }

func (p *pages) free(s span) {
	if s.slots == 0 {
		return
	}
	if at, ok := slices.BinarySearchFunc(p.used[s.page], s, compareSpans); ok {
		p.used[s.page] = slices.Delete(p.used[s.page], at, at+1)
	}
}

// write fills a range with numbers of backends.
func (p *pages) write(s span, numbers []uint32) error {
	keys := make([]uint32, len(numbers))
	for i := range keys {
		keys[i] = s.offset + uint32(i)
	}
	if _, err := p.all[s.page].BatchUpdate(keys, numbers, nil); err != nil {
		return fmt.Errorf("writing a range of slots: %w", err)
	}
	return nil
}

// read returns the slots of a page.
func (p *pages) read(page int) ([]uint32, error) {
	numbers := make([]uint32, p.all[page].MaxEntries())
	keys := make([]uint32, len(numbers))
	var cursor ebpf.MapBatchCursor
	if n, err := p.all[page].BatchLookup(&cursor, keys, numbers, nil); n != len(numbers) {
		return nil, fmt.Errorf("reading a page of slots back: %d of %d: %w", n, len(numbers), err)
	}
	return numbers, nil
}
