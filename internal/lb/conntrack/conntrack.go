// Package conntrack sets the limits and timeouts of the node's connection
// tracking, the ones that kube-proxy sets, to what its users expect of it.
//
// In goes a Config; out come sysctls of the node's network namespace. It never
// lowers a limit, and reads or changes no connection.
package conntrack

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Config says what to set. Zero values leave alone what the kernel has. The
// names are those of KubeProxyConfiguration's conntrack.
type Config struct {
	// MaxPerCore times the number of processors, but not over a million for that
	// alone, and at least Min, is the number of connections that the node can
	// track. It is raised to that, never lowered, and so is the number of buckets
	// in which they are found, to a fourth of it.
	MaxPerCore int
	Min        int
	// TCPEstablishedTimeout is how long a silent TCP connection is remembered,
	// TCPCloseWaitTimeout one that the other side has closed.
	TCPEstablishedTimeout time.Duration
	TCPCloseWaitTimeout   time.Duration
	// TCPBeLiberal takes packets outside the window for valid.
	TCPBeLiberal bool
	// UDPTimeout is how long a UDP packet's addresses are remembered,
	// UDPStreamTimeout those of packets that were answered.
	UDPTimeout       time.Duration
	UDPStreamTimeout time.Duration
}

// ErrNotTracking says that the kernel does not track connections (yet): it
// starts when the first rule wants it.
var ErrNotTracking = errors.New("the kernel tracks no connections")

// Apply writes the settings below directory, which is /proc/sys/net of the
// node, for a node of so many processors. What is that already is not written.
// The error names every setting that could not be made, and is ErrNotTracking if
// there are none at all.
func Apply(c Config, directory string, processors int) error {
	if _, err := os.Stat(filepath.Join(directory, "netfilter", "nf_conntrack_max")); errors.Is(err, fs.ErrNotExist) {
		return ErrNotTracking
	}
	var failed error
	for _, s := range c.settings(processors) {
		if s.want <= 0 {
			continue
		}
		if err := s.apply(filepath.Join(directory, "netfilter", s.name)); err != nil {
			failed = errors.Join(failed, err)
		}
	}
	return failed
}

// maxScaled is the most that processors alone account for: 1,048,576, as with
// kube-proxy 1.37 (pkg/proxy/conntrack). Memory is taken by the bucket.
const maxScaled = 1 << 20

// setting is one sysctl.
type setting struct {
	name string
	want int
	// raise: only if what is there is less.
	raise bool
}

func (c Config) settings(processors int) []setting {
	limit := 0
	if c.MaxPerCore > 0 {
		limit = max(min(c.MaxPerCore*processors, maxScaled), c.Min)
	}
	liberal := 0
	if c.TCPBeLiberal {
		liberal = 1
	}
	return []setting{
		{name: "nf_conntrack_max", want: limit, raise: true},
		// The kernel has them writable in its first network namespace, which is the
		// node's.
		{name: "nf_conntrack_buckets", want: limit / 4, raise: true},
		{name: "nf_conntrack_tcp_timeout_established", want: seconds(c.TCPEstablishedTimeout)},
		{name: "nf_conntrack_tcp_timeout_close_wait", want: seconds(c.TCPCloseWaitTimeout)},
		{name: "nf_conntrack_tcp_be_liberal", want: liberal},
		{name: "nf_conntrack_udp_timeout", want: seconds(c.UDPTimeout)},
		{name: "nf_conntrack_udp_timeout_stream", want: seconds(c.UDPStreamTimeout)},
	}
}

func seconds(d time.Duration) int { return int(d / time.Second) }

func (s setting) apply(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read sysctl %s: %w", s.name, err)
	}
	is, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return fmt.Errorf("read sysctl %s: %w", s.name, err)
	}
	if is == s.want || s.raise && is > s.want {
		return nil
	}
	if err := os.WriteFile(path, []byte(strconv.Itoa(s.want)), 0o644); err != nil {
		return fmt.Errorf("set sysctl net.netfilter.%s from %d to %d (set it on the node, or 0 in lb.conntrack to leave it): %w", s.name, is, s.want, err)
	}
	return nil
}
