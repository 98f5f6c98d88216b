package bfd

import (
	"errors"
	"net"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestFullQueue: a queue that nothing leaves any more does not stop the sender, as that
// would end the sessions at other interfaces too. A socket between processes stands for
// an interface that sends nothing.
func TestFullQueue(t *testing.T) {
	there, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(t.TempDir(), "s"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = there.Close() }()
	conn, err := net.Dial("unixgram", there.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	sent := make(chan error, 1)
	go func() {
		var err error
		for n := 0; n < 1000000 && err == nil; n++ {
			err = write(conn.(*net.UnixConn), make([]byte, packetSize))
		}
		sent <- err
	}()
	select {
	case err := <-sent:
		if !errors.Is(err, unix.EAGAIN) {
			t.Errorf("%v, want %v", err, unix.EAGAIN)
		}
	case <-time.After(30 * time.Second):
		t.Error("the sender waits")
	}
}
