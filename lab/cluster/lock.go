package cluster

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// lock keeps two commands from building and cleaning at once. The kernel releases it when the process
// ends, however it ends.
func (c *Cluster) lock() (unlock func(), err error) {
	if err := os.MkdirAll(c.Layout.Dir(), 0o755); err != nil {
		return nil, fmt.Errorf("make the lab's folder: %w", err)
	}
	file, err := os.OpenFile(c.Layout.Dir("lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open the lock: %w", err)
	}
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		if errors.Is(err, unix.EWOULDBLOCK) {
			err = ErrBusy
		}
		return nil, errors.Join(err, file.Close())
	}
	return func() { _ = file.Close() }, nil
}
