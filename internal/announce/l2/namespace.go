package l2

import (
	"fmt"
	"runtime"

	"github.com/vishvananda/netns"
)

// namespace is the network namespace that a Plane was made in. Sockets belong to
// that of the thread which opens them, and goroutines change threads.
type namespace struct{ handle netns.NsHandle }

func currentNamespace() (namespace, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	handle, err := netns.Get()
	if err != nil {
		return namespace{}, fmt.Errorf("find the process's network namespace: %w", err)
	}
	return namespace{handle}, nil
}

// do calls f inside. Where the process has no other namespace that takes no
// privilege.
func (n namespace) do(f func() error) error {
	runtime.LockOSThread()
	here, err := netns.Get()
	if err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("find the thread's network namespace: %w", err)
	}
	defer func() { _ = here.Close() }()
	if here.Equal(n.handle) {
		defer runtime.UnlockOSThread()
		return f()
	}
	if err := netns.Set(n.handle); err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("enter the network namespace: %w", err)
	}
	failed := f()
	if err := netns.Set(here); err != nil {
		// Stay locked, so that the thread ends with its goroutine.
		return fmt.Errorf("leave the network namespace: %w", err)
	}
	runtime.UnlockOSThread()
	return failed
}

func (n namespace) close() { _ = n.handle.Close() }
