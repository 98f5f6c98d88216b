package uplink

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

const (
	roleVariable = "FAIRLEAD_TEST_ROLE"
	roleTests    = "tests"
)

// TestMain runs the tests in a mount namespace of their own, so that the bpffs
// they mount, and with it every pin, is gone when they end, however they end.
func TestMain(m *testing.M) {
	if os.Getenv(roleVariable) == roleTests || fuzzing() {
		os.Exit(m.Run())
	}
	os.Exit(inMountNamespace())
}

// fuzzing tells whether go test -fuzz runs, whose workers must stay children of
// their coordinator. No fuzz target mounts anything.
func fuzzing() bool {
	for _, arg := range os.Args[1:] {
		if strings.HasPrefix(arg, "-test.fuzz=") || strings.HasPrefix(arg, "-test.fuzzworker") {
			return true
		}
	}
	return false
}

func inMountNamespace() int {
	if os.Geteuid() != 0 {
		fmt.Fprintln(os.Stderr, "these tests load BPF programs: run them as root")
		return 1
	}
	runtime.LockOSThread() // Pdeathsig follows the thread
	cmd := exec.Command(os.Args[0], os.Args[1:]...)
	cmd.Env = append(os.Environ(), roleVariable+"="+roleTests)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &unix.SysProcAttr{Unshareflags: unix.CLONE_NEWNS, Pdeathsig: unix.SIGKILL}
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		return exit.ExitCode()
	case err != nil:
		fmt.Fprintln(os.Stderr, "starting the tests in a mount namespace:", err)
		return 1
	}
	return 0
}
