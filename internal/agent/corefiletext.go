package agent

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/fairlead-net/fairlead/internal/dns/corefile"
)

// maxCorefile is a byte more than the parser takes, so that it says so.
const maxCorefile = 1<<20 + 1

// files gives the texts that a configuration is made of: the Corefile, the files that
// match a pattern in it, and one that a directive names.
type files struct {
	corefile func() (corefile.Source, error)
	beside   func(pattern string) ([]corefile.Source, error)
	named    func(name string) (corefile.Source, error)
}

// onDisk gives those of a Corefile that lies somewhere.
func onDisk(name string) files {
	return files{
		corefile: func() (corefile.Source, error) { return ReadCorefile(name) },
		beside:   BesideCorefile(name),
		named: func(other string) (corefile.Source, error) {
			return ReadCorefile(filepath.Join(filepath.Dir(name), filepath.Base(other)))
		},
	}
}

// texts are what files gave.
type texts struct {
	corefile corefile.Source
	beside   map[string][]corefile.Source
	named    map[string]corefile.Source
	// all holds all of them.
	all strings.Builder
}

func newTexts(of corefile.Source) *texts {
	t := &texts{corefile: of, beside: map[string][]corefile.Source{}, named: map[string]corefile.Source{}}
	t.add(of)
	return t
}

func (t *texts) add(s corefile.Source) {
	fmt.Fprintf(&t.all, "%s %d\n%s", s.Name, len(s.Text), s.Text)
}

// note returns files that give the same as others, and keeps what they give.
func (t *texts) note(from files) files {
	return files{
		corefile: from.corefile,
		beside: func(pattern string) ([]corefile.Source, error) {
			all, err := from.beside(pattern)
			for _, s := range all {
				t.add(s)
			}
			t.beside[pattern] = all
			return all, err
		},
		named: func(name string) (corefile.Source, error) {
			source, err := from.named(name)
			if err == nil {
				t.add(source)
				t.named[name] = source
			}
			return source, err
		},
	}
}

// files gives the texts again, whatever has become of the files that held them.
func (t *texts) files() files {
	return files{
		corefile: func() (corefile.Source, error) { return t.corefile, nil },
		beside:   func(pattern string) ([]corefile.Source, error) { return t.beside[pattern], nil },
		named: func(name string) (corefile.Source, error) {
			source, there := t.named[name]
			if !there {
				return source, fs.ErrNotExist
			}
			return source, nil
		},
	}
}

// ReadCorefile reads a Corefile, or a file that one names, up to its limit.
func ReadCorefile(name string) (corefile.Source, error) {
	file, err := os.Open(name)
	if err != nil {
		return corefile.Source{}, err
	}
	defer func() { _ = file.Close() }() // what was read is there
	content, err := io.ReadAll(io.LimitReader(file, maxCorefile))
	return corefile.Source{Name: name, Text: string(content)}, err
}

// BesideCorefile resolves the patterns of imports, which count from the folder of
// the Corefile. Folders, pipes and the like are left out.
func BesideCorefile(name string) func(string) ([]corefile.Source, error) {
	return func(pattern string) ([]corefile.Source, error) {
		if !filepath.IsAbs(pattern) {
			pattern = filepath.Join(filepath.Dir(name), pattern)
		}
		names, err := filepath.Glob(pattern)
		if err != nil {
			return nil, fmt.Errorf("%w; write for example custom/*.override", err)
		}
		var all []corefile.Source
		for _, name := range names {
			if info, err := os.Stat(name); err == nil && !info.Mode().IsRegular() {
				continue
			}
			source, err := ReadCorefile(name)
			if err != nil {
				return nil, err
			}
			all = append(all, source)
		}
		return all, nil
	}
}
