package machine

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const (
	firstPause = time.Second
	longPause  = 10 * time.Second
	// steady is how long a component must have run for its next restart to be quick again.
	steady = time.Minute
)

// supervise keeps one component running, as systemd would.
func supervise(ctx context.Context, children *children, c Component, listeners []*os.File, log *slog.Logger) {
	pause := firstPause
	for ctx.Err() == nil {
		await(ctx, c.After)
		started := time.Now()
		exit, err := run(children, c, listeners)
		if err != nil {
			log.Error("component did not start", "error", err)
		} else {
			log.Info("component started")
			status := <-exit
			log.Warn("component ended", "status", status.ExitStatus(), "signal", status.Signal().String())
		}
		if time.Since(started) > steady {
			pause = firstPause
		}
		time.Sleep(pause)
		pause = min(2*pause, longPause)
	}
}

func run(children *children, c Component, listeners []*os.File) (<-chan syscall.WaitStatus, error) {
	output, err := os.OpenFile(filepath.Join(Logs, c.Name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer output.Close()
	null, err := os.Open(os.DevNull)
	if err != nil {
		return nil, err
	}
	defer null.Close()
	files := []uintptr{null.Fd(), output.Fd(), output.Fd()}
	if c.Listeners {
		for _, l := range listeners {
			files = append(files, l.Fd())
		}
	}
	return children.start(c.Path, append([]string{c.Name}, c.Args...), &syscall.ProcAttr{
		Env:   []string{"PATH=" + Programs + ":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root"},
		Files: files,
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
}

// await returns once every endpoint accepts connections.
func await(ctx context.Context, endpoints []string) {
	for _, endpoint := range endpoints {
		for ctx.Err() == nil && !accepts(ctx, endpoint) {
			time.Sleep(100 * time.Millisecond)
		}
	}
}

func accepts(ctx context.Context, endpoint string) bool {
	network, address, ok := strings.Cut(endpoint, ":")
	if !ok {
		panic(fmt.Sprintf("machine: endpoint %q has no network", endpoint))
	}
	dialer := net.Dialer{Timeout: time.Second}
	conn, err := dialer.DialContext(ctx, network, address)
	if err != nil {
		return false
	}
	return conn.Close() == nil
}
