package cgroup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// leafName is the folder of a machine's services; pods are beside it.
const leafName = "init"

// Create makes a machine's folder in every hierarchy.
func Create(all []Hierarchy, machine string) error {
	for _, h := range all {
		for _, dir := range []string{filepath.Join(h.Mount, Folder), h.Folder(machine)} {
			if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
				return fmt.Errorf("make cgroup folder: %w", err)
			}
			if err := prepare(h, dir); err != nil {
				return err
			}
		}
	}
	return nil
}

// prepare makes a new folder usable: an empty cpuset (version 1) admits no process, and a cgroup2 folder
// has only the controllers that its parent passes on.
func prepare(h Hierarchy, dir string) error {
	if slices.Contains(h.Controllers(), "cpuset") {
		for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
			value, err := os.ReadFile(filepath.Join(filepath.Dir(dir), file))
			if err != nil {
				return fmt.Errorf("read the parent's cpuset: %w", err)
			}
			if err := os.WriteFile(filepath.Join(dir, file), value, 0); err != nil {
				return fmt.Errorf("set the cpuset of %s: %w", dir, err)
			}
		}
	}
	if h.Unified {
		return passOn(filepath.Dir(dir))
	}
	return nil
}

// passOn lets the children of a cgroup2 folder use every controller that the folder has.
func passOn(dir string) error {
	text, err := os.ReadFile(filepath.Join(dir, "cgroup.controllers"))
	if err != nil {
		return fmt.Errorf("read the controllers: %w", err)
	}
	for controller := range strings.FieldsSeq(string(text)) {
		// Not every controller can be passed on everywhere (cpu with realtime processes, for one):
		// kubelet says which of those it needs are missing, so a refusal is no error here.
		_ = os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), []byte("+"+controller), 0)
	}
	return nil
}

// Enter moves a process into a machine's folder in every hierarchy.
func Enter(all []Hierarchy, machine string, pid int) error {
	for _, h := range all {
		if err := move(h.Folder(machine), pid); err != nil {
			return fmt.Errorf("enter the cgroup of %s: %w", machine, err)
		}
	}
	return nil
}

func move(dir string, pid int) error {
	return os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0)
}

// Leaf moves a process out of dir, which the process sees as a cgroup2 root, into a folder named init
// below it: a folder that passes controllers on may hold no process of its own (the kernel's cgroup-v2
// document, "No Internal Process Constraint"), and only the host's real root is exempt.
func Leaf(dir string, pid int) error {
	leaf := filepath.Join(dir, leafName)
	if err := os.Mkdir(leaf, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("make cgroup folder: %w", err)
	}
	if err := move(leaf, pid); err != nil {
		return fmt.Errorf("enter %s: %w", leaf, err)
	}
	return passOn(dir)
}

// Exists says whether a machine's folder, or with an empty name the lab's, exists in any hierarchy.
func Exists(all []Hierarchy, machine string) bool {
	return slices.ContainsFunc(all, func(h Hierarchy) bool {
		_, err := os.Stat(h.Folder(machine))
		return err == nil
	})
}

// Remove ends every process in a machine's folders, or with an empty name in all of the lab's, and then
// removes the folders. It returns once nothing is left, or with the context's error and what is.
func Remove(ctx context.Context, all []Hierarchy, machine string) error {
	for {
		var left []string
		for _, h := range all {
			left = append(left, sweep(h, h.Folder(machine))...)
		}
		if len(left) == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("cgroup folders stay busy, end what runs in them: %s: %w", strings.Join(left, " "), ctx.Err())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// sweep ends what runs below dir and removes the folders that are empty; it returns those that stay.
func sweep(h Hierarchy, dir string) []string {
	if h.Unified {
		// One write ends the whole tree at once, whatever it forks meanwhile (kernel 5.14 and newer).
		_ = os.WriteFile(filepath.Join(dir, "cgroup.kill"), []byte("1"), 0)
	}
	var dirs []string
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			dirs = append(dirs, path)
		}
		return nil // a folder that vanished meanwhile is what we want
	})
	var left []string
	slices.Reverse(dirs) // children before parents
	for _, d := range dirs {
		if !h.Unified {
			killMembers(d)
		}
		if err := unix.Rmdir(d); err != nil && !errors.Is(err, unix.ENOENT) {
			left = append(left, d)
		}
	}
	return left
}

func killMembers(dir string) {
	for _, pid := range members(dir) {
		_ = unix.Kill(pid, unix.SIGKILL) // gone already is as good
	}
}

// Services lists the processes of a machine outside its pods, in the host's numbering.
func Services(all []Hierarchy, machine string) []int {
	return members(filepath.Join(Unified(all).Folder(machine), leafName))
}

// members lists the processes directly in a folder.
func members(dir string) []int {
	text, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
	if err != nil {
		return nil
	}
	var pids []int
	for field := range strings.FieldsSeq(string(text)) {
		if pid, err := strconv.Atoi(field); err == nil && pid > 1 {
			pids = append(pids, pid)
		}
	}
	return pids
}

// Join moves a process into a running machine, beside the machine's own services.
func Join(all []Hierarchy, machine string, pid int) error {
	for _, h := range all {
		dir := h.Folder(machine)
		if h.Unified {
			dir = filepath.Join(dir, leafName)
		}
		if err := move(dir, pid); err != nil {
			return fmt.Errorf("enter the cgroup of %s: %w", machine, err)
		}
	}
	return nil
}
