package machine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/fairlead-net/fairlead/lab/cgroup"
)

// Words of the hidden command line that takes this program from the host into the machine.
const (
	BootCommand = "machine-boot"
	InitCommand = "machine-init"
)

// ErrBoot wraps what a machine said when it could not start.
var ErrBoot = errors.New("the machine did not start")

// Start switches a machine on in the network namespace that network is open on. The machine outlives the
// caller. listeners are open sockets of the host's network for components that want them.
//
// The way in has two steps, since each needs what the one before gives: the boot process enters the
// machine's cgroups and network; only its child can then have a cgroup namespace whose root is that cgroup
// (cgroup_namespaces(7): the root is where the creator was), and be process 1 of a PID namespace.
func Start(ctx context.Context, s Spec, network *os.File, listeners []*os.File) error {
	if err := s.Save(); err != nil {
		return err
	}
	for _, dir := range []string{s.Logs, filepath.Join(s.Dir, "lib"), filepath.Join(s.Dir, "log"), filepath.Join(s.Dir, "mnt")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("make a folder of %s: %w", s.Name, err)
		}
	}
	if err := cgroup.Create(s.Hierarchies, s.Name); err != nil {
		return err
	}
	output, err := os.OpenFile(filepath.Join(s.Logs, "init.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("open the log of %s: %w", s.Name, err)
	}
	defer output.Close()
	report, status, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("make a pipe: %w", err)
	}
	defer report.Close()

	boot := exec.CommandContext(ctx, Self, BootCommand, s.Dir)
	boot.Stdout, boot.Stderr = output, output
	boot.ExtraFiles = append([]*os.File{status, network}, listeners...)
	boot.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // a closed terminal must not end the machine
	err = boot.Run()
	status.Close()
	text, readErr := io.ReadAll(report) // ends when the machine's init closes its end
	switch said := strings.TrimSpace(string(text)); {
	case readErr != nil:
		return fmt.Errorf("%w: %s: %w", ErrBoot, s.Name, readErr)
	case said == ready:
		return nil
	case said != "":
		return fmt.Errorf("%w: %s: %s", ErrBoot, s.Name, said)
	default:
		return fmt.Errorf("%w: %s: see %s: %w", ErrBoot, s.Name, output.Name(), errors.Join(err, errors.New("no word from its init")))
	}
}

// ready is what a machine's init reports when everything is mounted.
const ready = "ready"

// Descriptors that Start hands to the boot process, and that one to the init.
const (
	statusFD   = 3
	networkFD  = 4 // the boot process only
	listenerFD = 5 // in the boot process; the init and components have no networkFD and count from 4 and 3
)
