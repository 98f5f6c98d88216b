// Package cgroup gives each machine of the lab its own folder in every cgroup hierarchy of the host.
//
// In: the host's mount table and machine names. Out: folders, membership of processes, and, at the end,
// no folder and no process: membership is the lab's one register of what it started, so that nothing is
// ever ended by name. It never touches a folder outside its own and never changes the host's limits.
package cgroup

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Folder is the lab's folder in every hierarchy.
const Folder = "fairlead-lab"

// Root is where every distribution mounts its hierarchies.
const Root = "/sys/fs/cgroup"

// ErrNoUnified says that the host has no cgroup2 mount, which BPF programs on cgroups need.
var ErrNoUnified = errors.New("no cgroup2 file system is mounted under " + Root +
	": boot with systemd's hybrid or unified hierarchy, or mount one at " + Root + "/unified")

// Hierarchy is one mounted cgroup tree.
type Hierarchy struct {
	// Mount is its mount point on the host.
	Mount string
	// Unified says cgroup2.
	Unified bool
	// Options name a version 1 hierarchy to mount(2): its controllers or its name.
	Options string
}

// Folder is the place of one machine in the hierarchy.
func (h Hierarchy) Folder(machine string) string { return filepath.Join(h.Mount, Folder, machine) }

// Controllers are those of a version 1 hierarchy.
func (h Hierarchy) Controllers() []string {
	if h.Unified || strings.Contains(h.Options, "name=") {
		return nil
	}
	return strings.Split(h.Options, ",")
}

// Discover finds the host's hierarchies.
func Discover() ([]Hierarchy, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("read the mount table: %w", err)
	}
	defer f.Close()
	return Parse(f)
}

// Parse reads hierarchies out of a mount table in the form of /proc/PID/mountinfo (proc(5)).
func Parse(mountinfo io.Reader) ([]Hierarchy, error) {
	var out []Hierarchy
	lines := bufio.NewScanner(mountinfo)
	for lines.Scan() {
		before, after, ok := strings.Cut(lines.Text(), " - ")
		left, right := strings.Fields(before), strings.Fields(after)
		if !ok || len(left) < 5 || len(right) < 3 {
			continue
		}
		mount := left[4]
		if mount != Root && !strings.HasPrefix(mount, Root+"/") {
			continue
		}
		switch right[0] {
		case "cgroup2":
			out = append(out, Hierarchy{Mount: mount, Unified: true})
		case "cgroup":
			out = append(out, Hierarchy{Mount: mount, Options: identity(right[2])})
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read the mount table: %w", err)
	}
	if !slices.ContainsFunc(out, func(h Hierarchy) bool { return h.Unified }) {
		return nil, ErrNoUnified
	}
	return out, nil
}

// identity keeps of a version 1 hierarchy's options what mount(2) needs to find the same hierarchy again.
func identity(options string) string {
	var keep []string
	named := false
	for option := range strings.SplitSeq(options, ",") {
		switch {
		case strings.HasPrefix(option, "name="):
			named = true
			keep = append(keep, option)
		case slices.Contains([]string{"rw", "ro", "xattr", "noprefix", "clone_children"}, option),
			strings.HasPrefix(option, "release_agent="), option == "cpuset_v2_mode", option == "favordynmods":
		default:
			keep = append(keep, option)
		}
	}
	if named && len(keep) == 1 {
		keep = append([]string{"none"}, keep...) // "none" asks for a hierarchy without controllers
	}
	return strings.Join(keep, ",")
}

// Unified picks the cgroup2 hierarchy.
func Unified(all []Hierarchy) Hierarchy {
	for _, h := range all {
		if h.Unified {
			return h
		}
	}
	panic("cgroup: Parse returned no cgroup2 hierarchy and no error")
}
