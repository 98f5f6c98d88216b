// Package forward carries TCP connections from the host into the lab.
//
// In: listening sockets of the host's network and an address in the lab's for each. Out: bytes, both
// ways. It runs inside the lab's network, and never listens anywhere itself: a socket stays in the network
// it was made in, so an inherited listener is all the way in that there is.
package forward

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"time"
)

// Listener is a listening socket of the host that can be handed to a machine.
func Listener(address string) (*os.File, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen on %s, which kubectl on the host uses to reach the lab (end what holds it): %w", address, err)
	}
	defer l.Close()
	file, err := l.(*net.TCPListener).File()
	if err != nil {
		return nil, fmt.Errorf("hand over the listener on %s: %w", address, err)
	}
	return file, nil
}

// Serve forwards from each file (a listener) to the address at the same place in to, until ctx ends.
func Serve(ctx context.Context, files []*os.File, to []string, log *slog.Logger) error {
	if len(files) != len(to) {
		return fmt.Errorf("%d listeners were handed over for %d addresses", len(files), len(to))
	}
	failed := make(chan error)
	for i, file := range files {
		listener, err := net.FileListener(file)
		if err != nil {
			return fmt.Errorf("take over a listener: %w", err)
		}
		go func() {
			select {
			case failed <- accept(ctx, listener, to[i], log):
			case <-ctx.Done():
			}
		}()
	}
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
		return nil
	}
}

func accept(ctx context.Context, listener net.Listener, to string, log *slog.Logger) error {
	for {
		client, err := listener.Accept()
		if err != nil {
			return fmt.Errorf("accept a connection for %s: %w", to, err)
		}
		go func() {
			if err := carry(ctx, client, to); err != nil {
				log.Warn("connection not forwarded", "to", to, "error", err)
			}
		}()
	}
}

func carry(ctx context.Context, client net.Conn, to string) error {
	defer client.Close()
	dialer := net.Dialer{Timeout: 5 * time.Second}
	server, err := dialer.DialContext(ctx, "tcp", to)
	if err != nil {
		return err
	}
	defer server.Close()
	done := make(chan struct{}, 2)
	go func() { pipe(server, client); done <- struct{}{} }()
	go func() { pipe(client, server); done <- struct{}{} }()
	<-done
	<-done
	return nil
}

// pipe copies one direction and passes its end on, so that the other direction can finish. How a
// connection ends is for its two ends to judge: a reset is no fault of the carrier.
func pipe(to, from net.Conn) {
	_, _ = io.Copy(to, from)
	if half, ok := to.(*net.TCPConn); ok {
		_ = half.CloseWrite()
	}
}
