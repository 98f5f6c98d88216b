// Package machine runs namespaces that look like machines.
//
// In: a Spec (files, components, a network namespace that is ready). Out: a detached process that is the
// init of a new PID, mount, cgroup, UTS and IPC namespace and supervises the components until the machine
// is switched off. It never plans an address, never plugs a cable, and leaves nothing on the host that
// outlives its processes, except the machine's disk in its own folder.
package machine

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/fairlead-net/fairlead/lab/cgroup"
)

// Paths that every machine has inside.
const (
	// Programs is where the lab's programs are.
	Programs = "/run/lab/bin"
	// Logs is where the components' logs go.
	Logs = "/run/lab/logs"
	// Self is the lab's own program, wherever it was started from.
	Self = "/proc/self/exe"
)

// Component is a program that the machine keeps running.
type Component struct {
	Name string
	// Path is the program, Args its arguments without the program's name.
	Path string
	Args []string
	// After names endpoints (tcp:HOST:PORT or unix:PATH) that must accept connections first.
	After []string
	// Listeners says to hand the machine's listeners to the component, as descriptors 3 and up.
	Listeners bool
}

// Spec is everything about a machine except its network.
type Spec struct {
	Name string
	// Dir is the machine's folder on the host: its disk and its mount points.
	Dir string
	// Bin and Logs are the host's folders that appear as Programs and Logs inside.
	Bin, Logs string
	// Hierarchies are the host's cgroup mounts.
	Hierarchies []cgroup.Hierarchy
	// Files are written into the machine's root before anything runs; Links are symbolic links.
	Files map[string]File
	Links map[string]string
	// Masks are files under /proc/sys that show a fixed text and swallow writes: kubelet insists on
	// values that the whole host shares, and the host is not the lab's to change.
	Masks      map[string]string
	Components []Component
}

// File is a file's text and whether only root may read it.
type File struct {
	Text   string
	Secret bool
}

func (s Spec) path() string { return filepath.Join(s.Dir, "machine.json") }

// Save writes the spec into the machine's folder, where its init finds it.
func (s Spec) Save() error {
	if err := os.MkdirAll(s.Dir, 0o700); err != nil {
		return fmt.Errorf("make the folder of %s: %w", s.Name, err)
	}
	text, err := json.MarshalIndent(s, "", "\t")
	if err != nil {
		return fmt.Errorf("encode the spec of %s: %w", s.Name, err)
	}
	if err := os.WriteFile(s.path(), text, 0o600); err != nil { // it holds keys
		return fmt.Errorf("save the spec of %s: %w", s.Name, err)
	}
	return nil
}

// Load reads a spec that Save wrote into dir.
func Load(dir string) (Spec, error) {
	var s Spec
	text, err := os.ReadFile(Spec{Dir: dir}.path())
	if err != nil {
		return s, fmt.Errorf("read a machine's spec: %w", err)
	}
	if err := json.Unmarshal(text, &s); err != nil {
		return s, fmt.Errorf("read the machine's spec %s: %w", Spec{Dir: dir}.path(), err)
	}
	return s, nil
}
