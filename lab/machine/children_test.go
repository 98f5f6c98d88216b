package machine

import (
	"syscall"
	"testing"
	"time"
)

func TestChildrenHandOutEachStatusOnce(t *testing.T) {
	c := newChildren()
	go c.reap() // this test starts no other process whose status reap could take
	for code, script := range map[int]string{0: "exit 0", 3: "exit 3"} {
		exit, err := c.start("/bin/sh", []string{"sh", "-c", script}, &syscall.ProcAttr{})
		if err != nil {
			t.Fatal(err)
		}
		select {
		case status := <-exit:
			if status.ExitStatus() != code {
				t.Errorf("%s: status %d", script, status.ExitStatus())
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("%s: no status", script)
		}
	}
	if _, err := c.start("/nonexistent", []string{"x"}, &syscall.ProcAttr{}); err == nil {
		t.Error("started nothing without an error")
	}
}
