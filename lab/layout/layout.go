// Package layout names the files of the lab.
//
// In: the folder a command was started in. Out: the root of the repository and the paths of everything
// the lab keeps under its folder .lab. It never creates, reads or removes what it names, except to find
// the root.
package layout

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Module is the path of the repository's root module, by which the root is recognised.
const Module = "github.com/fairlead-net/fairlead"

// ErrNoRoot says that no parent folder holds the repository's go.mod.
var ErrNoRoot = errors.New("not inside the repository: no parent folder has a go.mod of module " + Module)

// Layout is the root of the repository; its methods are the paths under it.
type Layout struct{ Root string }

// Find walks from dir upwards to the folder whose go.mod declares Module.
func Find(dir string) (Layout, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return Layout{}, fmt.Errorf("find the repository: %w", err)
	}
	for {
		text, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && declares(string(text)) {
			return Layout{Root: dir}, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return Layout{}, ErrNoRoot
		}
		dir = parent
	}
}

func declares(gomod string) bool {
	for line := range strings.Lines(gomod) {
		if f := strings.Fields(line); len(f) == 2 && f[0] == "module" {
			return f[1] == Module
		}
	}
	return false
}

// Dir is the folder that holds everything the lab makes; the repository ignores it.
func (l Layout) Dir(elem ...string) string {
	return filepath.Join(append([]string{l.Root, ".lab"}, elem...)...)
}

// Source is the folder of the lab's own Go module.
func (l Layout) Source() string { return filepath.Join(l.Root, "lab") }

// Bin is a program that the lab built.
func (l Layout) Bin(elem ...string) string { return l.Dir(append([]string{"bin"}, elem...)...) }

// Image is the tarball of an image that the lab built.
func (l Layout) Image(name string) string { return l.Dir("images", name+".tar") }

// Cache is a file that outlives the cluster because it is slow to make.
func (l Layout) Cache(name string) string { return l.Dir("cache", name) }

// Machines is the folder of all machines' disks: it goes when the cluster goes.
func (l Layout) Machines() string { return l.Dir("machines") }

// Machine is the folder of one machine's disk, spec and mount points.
func (l Layout) Machine(name string) string { return filepath.Join(l.Machines(), name) }

// Logs is the folder of one machine's component logs.
func (l Layout) Logs(machine string) string { return l.Dir("logs", machine) }

// State is the file that says which cluster runs.
func (l Layout) State() string { return l.Dir("state.json") }

// Kubeconfig is the administrator's kubeconfig for use on the host.
func (l Layout) Kubeconfig() string { return l.Dir("kubeconfig") }

// InnerKubeconfig is the administrator's kubeconfig for use inside the lab's network.
func (l Layout) InnerKubeconfig() string { return l.Dir("kubeconfig-inside") }
