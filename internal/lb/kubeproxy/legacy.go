package kubeproxy

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// procNet is of the thread: /proc/net is of the process's first one.
const procNet = "/proc/thread-self/net/"

// Options of getsockopt that show a table of iptables-legacy, the same for IPv4
// and IPv6 (linux/netfilter_ipv4/ip_tables.h).
const (
	tableInfo    = 64 // IPT_SO_GET_INFO
	tableEntries = 65 // IPT_SO_GET_ENTRIES
	nameLength   = 32 // XT_TABLE_MAXNAMELEN
	infoLength   = nameLength + 4 + 5*4 + 5*4 + 4 + 4
	// maxLegacy bounds what is read of one table: some million rules.
	maxLegacy = 1 << 30
)

// findLegacy looks for kube-proxy's chains in tables of iptables-legacy, which is
// a system of its own beside nftables. Writing such tables means writing them
// whole, so that is left to the program that everybody uses.
func (l *Leftovers) findLegacy() error {
	var failed []error
	for _, f := range []struct {
		names, program string
		domain, level  int
	}{
		{"ip_tables_names", "iptables-legacy", unix.AF_INET, unix.SOL_IP},
		{"ip6_tables_names", "ip6tables-legacy", unix.AF_INET6, unix.SOL_IPV6},
	} {
		// Only these are asked about: the kernel makes a table that is asked for.
		content, err := os.ReadFile(procNet + f.names)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		failed = append(failed, err)
		var found []string
		for _, table := range strings.Fields(string(content)) {
			chains, err := legacyChains(f.domain, f.level, table)
			if err != nil {
				failed = append(failed, fmt.Errorf("reading table %s of %s: %w", table, f.program, err))
			} else if chains > 0 {
				found = append(found, fmt.Sprintf("%d in table %s", chains, table))
			}
		}
		if len(found) > 0 {
			l.Manual = append(l.Manual, fmt.Sprintf("chains of %s: %s; on the node, run: %s-save | grep -vE '(:|-A |-j |-g )%s( |$)' | %s-restore",
				f.program, strings.Join(found, ", "), f.program, chainPattern, f.program))
		}
	}
	return errors.Join(failed...)
}

// legacyChains counts kube-proxy's chains in a table. Each chain begins with an
// entry that has its name in it, ended by a zero byte.
func legacyChains(domain, level int, table string) (int, error) {
	// Any socket does; a raw one would need CAP_NET_RAW.
	fd, err := unix.Socket(domain, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, os.NewSyscallError("socket", err)
	}
	defer func() { _ = unix.Close(fd) }()
	info := make([]byte, infoLength)
	copy(info[:nameLength-1], table)
	if err := getsockopt(fd, level, tableInfo, info); err != nil {
		return 0, err
	}
	size := binary.NativeEndian.Uint32(info[infoLength-4:])
	if size > maxLegacy {
		return 0, fmt.Errorf("%d bytes are too many", size)
	}
	const head = nameLength + 8 // the size, and what aligns the entries
	entries := make([]byte, head+int(size))
	copy(entries[:nameLength-1], table)
	binary.NativeEndian.PutUint32(entries[nameLength:], size)
	if err := getsockopt(fd, level, tableEntries, entries); err != nil {
		return 0, err
	}
	// What follows the name of an entry's target, ERROR, is padding to 30 bytes.
	return len(regexp.MustCompile(`ERROR\x00{25}`+chainPattern+`\x00`).FindAll(entries[head:], -1)), nil
}

// getsockopt fills value, whose beginning says what is asked for.
func getsockopt(fd, level, option int, value []byte) error {
	length := uint32(len(value))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), uintptr(level), uintptr(option),
		uintptr(unsafe.Pointer(&value[0])), uintptr(unsafe.Pointer(&length)), 0)
	if errno != 0 {
		return os.NewSyscallError("getsockopt", errno)
	}
	return nil
}
