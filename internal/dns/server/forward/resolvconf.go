package forward

import (
	"fmt"
	"net/netip"
	"strings"
)

// port is where DNS servers listen.
const port = 53

// ParseResolvConf returns the servers that the text of a resolv.conf names, in
// order and without repetition, and the lines that name none although they
// should. Everything but nameserver lines is left to programs that resolve
// names themselves.
func ParseResolvConf(text string) (servers []netip.AddrPort, problems []string) {
	seen := map[netip.AddrPort]bool{}
	number := 0
	for line := range strings.Lines(text) {
		number++
		fields := strings.Fields(line)
		if len(fields) == 0 || fields[0] != "nameserver" {
			continue
		}
		if len(fields) < 2 {
			problems = append(problems, fmt.Sprintf("line %d: nameserver without an address", number))
			continue
		}
		address, err := netip.ParseAddr(fields[1])
		if err != nil || address.IsUnspecified() || address.IsMulticast() {
			problems = append(problems, fmt.Sprintf("line %d: %q is not the address of a server", number, fields[1]))
			continue
		}
		if server := netip.AddrPortFrom(address.Unmap(), port); !seen[server] {
			seen[server] = true
			servers = append(servers, server)
		}
	}
	return servers, problems
}
