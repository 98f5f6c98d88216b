package fabric

import (
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// settings are those of a router: every machine forwards between its pods and the fabric. In a new
// namespace they apply to links made later, hence "default" as well as "all".
var settings = []struct{ path, value string }{
	{"/proc/sys/net/ipv4/ip_forward", "1"},
	{"/proc/sys/net/ipv4/conf/all/rp_filter", "2"},
	{"/proc/sys/net/ipv4/conf/default/rp_filter", "2"},
	{"/proc/sys/net/ipv6/conf/all/disable_ipv6", "0"},
	{"/proc/sys/net/ipv6/conf/default/disable_ipv6", "0"},
	{"/proc/sys/net/ipv6/conf/all/forwarding", "1"},
	{"/proc/sys/net/ipv6/conf/default/forwarding", "1"},
	// Of several routes of the same cost a connection keeps one, and another connection may take another:
	// what routers do (RFC 2992).
	{"/proc/sys/net/ipv4/fib_multipath_hash_policy", "1"},
	{"/proc/sys/net/ipv6/fib_multipath_hash_policy", "1"},
	// Addresses are planned, so there is no duplicate to detect, and nobody waits a second for it.
	{"/proc/sys/net/ipv6/conf/all/accept_dad", "0"},
	{"/proc/sys/net/ipv6/conf/default/accept_dad", "0"},
	{"/proc/sys/net/ipv6/conf/all/accept_ra", "0"},
	{"/proc/sys/net/ipv6/conf/default/accept_ra", "0"},
	{"/proc/sys/net/ipv6/conf/all/keep_addr_on_down", "1"},
	{"/proc/sys/net/ipv6/conf/default/keep_addr_on_down", "1"},
}

// newNamespace makes a network namespace that forwards, and is empty but for lo.
func newNamespace() (*os.File, error) {
	type result struct {
		file *os.File
		err  error
	}
	done := make(chan result)
	go func() {
		// Never unlocked: the thread is in another namespace and must end with this goroutine.
		runtime.LockOSThread()
		file, err := unshareHere()
		done <- result{file, err}
	}()
	r := <-done
	return r.file, r.err
}

func unshareHere() (*os.File, error) {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return nil, fmt.Errorf("make a network namespace: %w", err)
	}
	for _, s := range settings {
		if err := os.WriteFile(s.path, []byte(s.value), 0); err != nil {
			return nil, fmt.Errorf("set %s: %w", s.path, err)
		}
	}
	file, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return nil, fmt.Errorf("open the network namespace: %w", err)
	}
	return file, nil
}
