package machine

import (
	"errors"
	"sync"
	"syscall"
	"time"
)

// children starts and reaps. Process 1 inherits every orphan of its namespace and must wait for whatever
// ends, which would steal the exit status from os/exec: so all waiting is done here and handed out by
// process id.
type children struct {
	mu      sync.Mutex
	waiting map[int]chan<- syscall.WaitStatus
}

func newChildren() *children { return &children{waiting: map[int]chan<- syscall.WaitStatus{}} }

// start runs a program; its status arrives on the channel. The lock is held until the process is known,
// so that reap can't see its end first.
func (c *children) start(path string, argv []string, attr *syscall.ProcAttr) (<-chan syscall.WaitStatus, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	pid, err := syscall.ForkExec(path, argv, attr)
	if err != nil {
		return nil, err
	}
	exit := make(chan syscall.WaitStatus, 1)
	c.waiting[pid] = exit
	return exit, nil
}

// reap waits for children and orphans for ever.
func (c *children) reap() {
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, syscall.ECHILD):
			time.Sleep(100 * time.Millisecond) // nothing runs yet
		case err == nil:
			c.ended(pid, status)
		}
	}
}

func (c *children) ended(pid int, status syscall.WaitStatus) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if exit, ok := c.waiting[pid]; ok {
		delete(c.waiting, pid)
		exit <- status
	}
}
