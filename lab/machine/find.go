package machine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/fairlead-net/fairlead/lab/cgroup"
)

// ErrOff says that a machine is not running.
var ErrOff = errors.New("the machine is switched off")

// PID is the host's process id of a machine's init. It is found by cgroup membership and by being
// process 1 of its PID namespace, never by a file that may be stale.
func PID(hierarchies []cgroup.Hierarchy, name string) (int, error) {
	for _, pid := range cgroup.Services(hierarchies, name) {
		if isFirst(pid) {
			return pid, nil
		}
	}
	return 0, fmt.Errorf("%s: %w", name, ErrOff)
}

// isFirst reads the line "NSpid:\t4711\t1": ids from the host's namespace down to the process's own.
func isFirst(pid int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(text)) {
		if ids, ok := strings.CutPrefix(line, "NSpid:"); ok {
			fields := strings.Fields(ids)
			return len(fields) == 2 && fields[1] == "1"
		}
	}
	return false
}

// Stop switches a machine off as a power cut does. Its disk stays.
func Stop(ctx context.Context, hierarchies []cgroup.Hierarchy, name string) error {
	return cgroup.Remove(ctx, hierarchies, name)
}
