package kubeproxy

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/fairlead-net/fairlead/internal/lb/nft"
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
	ours := isChain()
	for _, f := range []struct {
		names, program, family string
		domain, level          int
	}{
		{"ip_tables_names", "iptables-legacy", "ip", unix.AF_INET, unix.SOL_IP},
		{"ip6_tables_names", "ip6tables-legacy", "ip6", unix.AF_INET6, unix.SOL_IPV6},
	} {
		// Only these are asked about: the kernel makes a table that is asked for.
		content, err := os.ReadFile(procNet + f.names)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		failed = append(failed, err)
		var found []string
		stay := map[string]bool{}
		for _, name := range strings.Fields(string(content)) {
			table, err := legacyTable(f.domain, f.level, f.family, name)
			if err != nil {
				failed = append(failed, fmt.Errorf("reading table %s of %s: %w", name, f.program, err))
				continue
			}
			going := map[string]bool{}
			for chain := range table.Base {
				going[chain] = ours(chain)
			}
			maps.DeleteFunc(going, func(_ string, goes bool) bool { return !goes })
			all := maps.Clone(going)
			l.Kept = append(l.Kept, keepUsed(f.program, table, going)...)
			if len(going) > 0 {
				found = append(found, fmt.Sprintf("%d in table %s", len(going), name))
			}
			maps.DeleteFunc(all, func(chain string, _ bool) bool { return going[chain] })
			maps.Copy(stay, all)
		}
		if len(found) > 0 {
			l.Manual = append(l.Manual, fmt.Sprintf("chains of %s: %s; on the node, run: %s-save | %s | %s-restore",
				f.program, strings.Join(found, ", "), f.program, legacyFilter(stay), f.program))
		}
	}
	return errors.Join(failed...)
}

// legacyFilter returns the command that takes kube-proxy's chains, and jumps to
// them, out of what iptables-save writes, all but those that stay.
func legacyFilter(stay map[string]bool) string {
	const own, jump = `^(:|-A )%s( |$)`, ` -[jg] %s( |$)`
	var script []string
	for _, place := range []string{own, jump} {
		if len(stay) > 0 {
			script = append(script, fmt.Sprintf("/"+place+"/b", "("+strings.Join(slices.Sorted(maps.Keys(stay)), "|")+")"))
		}
		script = append(script, fmt.Sprintf("/"+place+"/d", chainPattern))
	}
	return "sed -E -e '" + strings.Join(script, "' -e '") + "'"
}

// legacyTable reads a table.
func legacyTable(domain, level int, family, name string) (nft.ForeignTable, error) {
	none := nft.ForeignTable{}
	// Any socket does; a raw one would need CAP_NET_RAW.
	fd, err := unix.Socket(domain, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return none, os.NewSyscallError("socket", err)
	}
	defer func() { _ = unix.Close(fd) }()
	info := make([]byte, infoLength)
	copy(info[:nameLength-1], name)
	if err := getsockopt(fd, level, tableInfo, info); err != nil {
		return none, err
	}
	valid := binary.NativeEndian.Uint32(info[nameLength:])
	var hooks []int
	for i := range legacyHooks {
		at := -1
		if valid&(1<<i) != 0 {
			at = int(binary.NativeEndian.Uint32(info[nameLength+4+4*i:]))
		}
		hooks = append(hooks, at)
	}
	size := binary.NativeEndian.Uint32(info[infoLength-4:])
	if size > maxLegacy {
		return none, fmt.Errorf("%d bytes are too many", size)
	}
	const head = nameLength + 8 // the size, and what aligns the entries
	entries := make([]byte, head+int(size))
	copy(entries[:nameLength-1], name)
	binary.NativeEndian.PutUint32(entries[nameLength:], size)
	if err := getsockopt(fd, level, tableEntries, entries); err != nil {
		return none, err
	}
	return parseLegacy(family, name, entries[head:], hooks)
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
