package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"time"

	"github.com/miekg/dns"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// peer is a server to measure, and its process.
type peer struct {
	name    string
	address netip.AddrPort
	cmd     *exec.Cmd
	ready   ready
	// wire is set if it is asked by the wire, and all time of its processor counts.
	wire bool
}

// world holds the processes of the bench.
type world struct {
	options
	directory string
	processes []*exec.Cmd
	// own and far are the network namespaces of the servers and of the load's end of
	// the wire.
	own, far netns.NsHandle
}

// close ends all processes, the last one first.
func (w *world) close() {
	for _, cmd := range slices.Backward(w.processes) {
		_ = cmd.Process.Signal(unix.SIGTERM)
		over := time.AfterFunc(5*time.Second, func() { _ = cmd.Process.Kill() })
		_ = cmd.Wait()
		over.Stop()
	}
}

func at(port uint16) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), port)
}

func (w *world) path(name string) string { return filepath.Join(w.directory, name) }

// command makes a process on one processor, that ends with this one.
func (w *world) command(cpu int, program string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(context.Background(), "taskset", slices.Concat([]string{"-c", strconv.Itoa(cpu), program}, args)...)
	cmd.SysProcAttr = &unix.SysProcAttr{Pdeathsig: unix.SIGKILL}
	cmd.Stderr = os.Stderr
	return cmd
}

// serverCPU is the processor of servers, loadCPU that of everything else.
const serverCPU = 0

func loadCPU() int { return runtime.NumCPU() - 1 }

// role starts a server of this program and waits until it is ready.
func (w *world) role(cpu int, name string, address netip.AddrPort, args ...string) (*peer, error) {
	args = slices.Concat([]string{"role", name, "-listen", address.String(), "-services", strconv.Itoa(w.services), "-endpoints", strconv.Itoa(w.endpoints)}, args)
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := w.command(cpu, self, args...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	w.processes = append(w.processes, cmd)
	p := &peer{name: name, address: address, cmd: cmd}
	if err := json.NewDecoder(out).Decode(&p.ready); err != nil {
		return nil, fmt.Errorf("%s does not start: %w", name, err)
	}
	return p, nil
}

// daemon starts a server that is not of this program, which writes what it has
// to say to a file.
func (w *world) daemon(cpu int, name string, address netip.AddrPort, config string, args ...string) (*peer, error) {
	path := w.path(name + ".conf")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		return nil, err
	}
	log, err := os.Create(w.path(name + ".log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := w.command(cpu, args[0], append(args[1:], path)...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	w.processes = append(w.processes, cmd)
	return &peer{name: name, address: address, cmd: cmd}, nil
}

// expect waits until the peer gives an A record for a name.
func (w *world) expect(p *peer, name string) error {
	client := &dns.Client{Timeout: time.Second}
	var err error
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		var reply *dns.Msg
		reply, _, err = client.Exchange(new(dns.Msg).SetQuestion(name, dns.TypeA), p.address.String())
		if err == nil && len(reply.Answer) > 0 {
			return nil
		}
		if err == nil {
			err = fmt.Errorf("the answer is %v", reply)
		}
	}
	said, _ := os.ReadFile(w.path(p.name + ".log"))
	return fmt.Errorf("%s does not answer for %s: %w; it says:\n%s", p.name, name, err, last(said, 2000))
}

func last(text []byte, n int) []byte { return text[max(0, len(text)-n):] }

// load asks a peer and returns what it did.
func (w *world) load(p *peer, queries string, rate float64, length time.Duration) (outcome, error) {
	self, err := os.Executable()
	if err != nil {
		return outcome{}, err
	}
	cmd := w.command(loadCPU(), self, "role", "load", "-server", p.address.String(), "-queries", queries,
		"-pid", strconv.Itoa(p.cmd.Process.Pid), "-rate", strconv.FormatFloat(rate, 'f', 0, 64), "-length", length.String())
	if p.wire {
		cmd.Args = append(cmd.Args, "-cpu", strconv.Itoa(serverCPU))
	}
	var out bytes.Buffer
	cmd.Stdout = &out
	if err := w.beside(p, cmd); err != nil {
		return outcome{}, fmt.Errorf("asking %s: %w", p.name, err)
	}
	var o outcome
	return o, json.NewDecoder(&out).Decode(&o)
}

// memory returns what a process has in memory, in bytes.
func memory(p *peer) (float64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	for line := range bytes.Lines(text) {
		var kilobytes float64
		if n, _ := fmt.Sscanf(string(line), "VmRSS: %f kB", &kilobytes); n == 1 {
			return kilobytes * 1024, nil
		}
	}
	return 0, errors.New("the kernel does not say how much memory a process has")
}
