package ebpf

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// FindCgroup returns the mount point of the cgroup2 hierarchy at or below
// directory: "/" for what this process sees, or where a container has the
// host's hierarchy mounted, such as /host/cgroup. With several it takes the one
// with the shortest path.
func FindCgroup(directory string) (string, error) {
	file, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return "", fmt.Errorf("finding the cgroup2 mount: %w", err)
	}
	defer func() { _ = file.Close() }()
	if found := cgroupMount(file, filepath.Clean(directory)); found != "" {
		return found, nil
	}
	// A directory inside a cgroup2 mount is as good as its mount point.
	if isFileSystem(directory, unix.CGROUP2_SUPER_MAGIC) {
		return directory, nil
	}
	return "", fmt.Errorf("no cgroup2 is mounted at or below %s: mount it (mount -t cgroup2 none /sys/fs/cgroup/unified) or, in a container, mount the host's /sys/fs/cgroup there", directory)
}

// cgroupMount returns the shortest cgroup2 mount point at or below directory
// that mountinfo (proc_pid_mountinfo(5)) lists, or nothing.
func cgroupMount(mountinfo io.Reader, directory string) string {
	best := ""
	lines := bufio.NewScanner(mountinfo)
	for lines.Scan() {
		before, after, found := strings.Cut(lines.Text(), " - ")
		fields := strings.Fields(before)
		if !found || len(fields) < 5 || !strings.HasPrefix(after, "cgroup2 ") {
			continue
		}
		point := unescape(fields[4])
		below, err := filepath.Rel(directory, point)
		if err != nil || below == ".." || strings.HasPrefix(below, "../") {
			continue
		}
		if best == "" || len(point) < len(best) {
			best = point
		}
	}
	return best
}

// unescape undoes the octal escapes of mountinfo.
func unescape(path string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(path)
}
