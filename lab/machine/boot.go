package machine

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/fairlead-net/fairlead/lab/cgroup"
)

// Boot is the first step into a machine: it enters the cgroups and the network, starts the init in fresh
// namespaces, and returns, which leaves the init to the host's process 1.
func Boot(dir string) error {
	status := os.NewFile(statusFD, "status")
	defer status.Close()
	err := boot(dir, status)
	if err != nil {
		fmt.Fprintln(status, err)
	}
	return err
}

func boot(dir string, status *os.File) error {
	s, err := Load(dir)
	if err != nil {
		return err
	}
	if err := cgroup.Enter(s.Hierarchies, s.Name, os.Getpid()); err != nil {
		return err
	}
	// Namespaces belong to threads: the one that enters the network must also be the one that forks.
	runtime.LockOSThread()
	if err := unix.Setns(networkFD, unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter the network of %s: %w", s.Name, err)
	}
	init := exec.Command(Self, InitCommand, dir)
	init.Stdout, init.Stderr = os.Stdout, os.Stderr
	init.ExtraFiles = append([]*os.File{status}, inherited(listenerFD)...)
	init.SysProcAttr = &syscall.SysProcAttr{
		Setsid: true,
		Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWCGROUP |
			unix.CLONE_NEWUTS | unix.CLONE_NEWIPC,
	}
	if err := init.Start(); err != nil {
		return fmt.Errorf("start the init of %s: %w", s.Name, err)
	}
	return nil
}

// inherited are the open descriptors from first upwards, without a gap.
func inherited(first int) []*os.File {
	var files []*os.File
	for fd := first; ; fd++ {
		// Only sockets are handed down; the runtime's own descriptors are not.
		if _, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE); err != nil {
			return files
		}
		files = append(files, os.NewFile(uintptr(fd), fmt.Sprintf("listener-%d", fd)))
	}
}
