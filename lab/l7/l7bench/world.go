package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// world holds the processes of the bench.
type world struct {
	options
	*loop
	directory string
	running   []*peer
}

// peer is a proxy to measure, Fairlead among them, with what it starts itself.
type peer struct {
	name       string
	plain, tls netip.AddrPort
	cmd        *exec.Cmd
}

// proxyCPU is the processor of proxies; this process has the last one.
const proxyCPU = 0

func at(port uint16) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), port)
}

func (w *world) path(name string) string { return filepath.Join(w.directory, name) }

// close ends all proxies.
func (w *world) close() {
	for _, p := range slices.Clone(w.running) {
		w.end(p)
	}
}

func (w *world) end(p *peer) {
	_ = p.cmd.Process.Signal(unix.SIGTERM)
	over := time.AfterFunc(5*time.Second, func() { _ = p.cmd.Process.Kill() })
	_ = p.cmd.Wait()
	over.Stop()
	w.running = slices.DeleteFunc(w.running, func(other *peer) bool { return other == p })
}

// start runs a proxy on its processor; what it has to say goes to a file.
func (w *world) start(p *peer, program string, args ...string) error {
	log, err := os.Create(w.path(p.name + ".log"))
	if err != nil {
		return err
	}
	defer log.Close()
	p.cmd = exec.CommandContext(context.Background(), "taskset", slices.Concat([]string{"-c", strconv.Itoa(proxyCPU), program}, args)...)
	// In a session of its own: the kernel gives sessions equal shares (sched(7), autogroup),
	// and that of this one is used up by the load, which never sleeps.
	p.cmd.SysProcAttr = &unix.SysProcAttr{Pdeathsig: unix.SIGKILL, Setsid: true}
	p.cmd.Env = append(os.Environ(), "HOME="+w.directory)
	p.cmd.Dir = w.directory
	p.cmd.Stdout, p.cmd.Stderr = log, log
	if err := p.cmd.Start(); err != nil {
		return fmt.Errorf("%s: %w", p.name, err)
	}
	w.running = append(w.running, p)
	return nil
}

// expect waits until a proxy answers for a host.
func (w *world) expect(p *peer, host string) error {
	t := task{address: p.plain, host: host, path: smallPath, size: small, connections: 1, streams: 1, length: time.Millisecond, used: p.used}
	var err error
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if _, err = w.run(t); err == nil {
			return nil
		}
	}
	said, _ := os.ReadFile(w.path(p.name + ".log"))
	return fmt.Errorf("%s does not answer for %s: %w; it says:\n%s", p.name, host, err, said[max(0, len(said)-2000):])
}

// beside lets the backend answer while something runs that waits.
func (w *world) beside(f func() error) error {
	done := make(chan error, 1)
	go func() { done <- f() }()
	for {
		select {
		case err := <-done:
			return err
		default:
			if err := w.turn(10); err != nil {
				return err
			}
		}
	}
}

// family returns the processes of a proxy: that which was started, and its children.
func (p *peer) family() ([]int, error) {
	all := []int{p.cmd.Process.Pid}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", all[0], all[0]))
	if err != nil {
		return nil, fmt.Errorf("%s has ended: %w", p.name, err)
	}
	for _, field := range strings.Fields(string(text)) {
		child, err := strconv.Atoi(field)
		if err != nil {
			return nil, err
		}
		all = append(all, child)
	}
	return all, nil
}

// used returns the CPU time of a proxy, of user and kernel.
func (p *peer) used() (sum time.Duration, err error) {
	family, err := p.family()
	if err != nil {
		return 0, err
	}
	for _, pid := range family {
		var t unix.Timespec
		// As clock_getcpuclockid(3) makes it of a process: /proc counts in hundredths of a
		// second.
		if err := unix.ClockGettime(int32(^pid)<<3|cpuClock, &t); err != nil {
			return 0, fmt.Errorf("the CPU time of %s: %w", p.name, err)
		}
		sum += time.Duration(t.Nano())
	}
	return sum, nil
}

// cpuClock is the kernel's CPUCLOCK_SCHED, what all threads of a process have run.
const cpuClock = 2

// memory returns what a proxy has in memory, in bytes. What several processes share
// counts once.
func (p *peer) memory() (sum float64, err error) {
	family, err := p.family()
	if err != nil {
		return 0, err
	}
	for _, pid := range family {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		if err != nil {
			return 0, err
		}
		found := false
		for line := range bytes.Lines(text) {
			var kilobytes float64
			if n, _ := fmt.Sscanf(string(line), "Pss: %f kB", &kilobytes); n == 1 {
				sum, found = sum+kilobytes*1024, true
			}
		}
		if !found {
			return 0, errors.New("the kernel does not say how much memory a process has")
		}
	}
	return sum, nil
}
