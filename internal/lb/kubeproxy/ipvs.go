package kubeproxy

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
)

// ipvsServer is a virtual server of IPVS.
type ipvsServer struct {
	flag    string // of ipvsadm: -t for TCP, -u for UDP, --sctp-service
	address string // ADDRESS:PORT
}

// parseIPVS reads the virtual servers from /proc/net/ip_vs. IPv4 addresses and
// ports are hexadecimal there.
func parseIPVS(text string) []ipvsServer {
	var servers []ipvsServer
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		flag, ok := map[string]string{"TCP": "-t", "UDP": "-u", "SCTP": "--sctp-service"}[fields[0]]
		colon := strings.LastIndex(fields[1], ":")
		if !ok || colon < 0 {
			continue
		}
		host := strings.Trim(fields[1][:colon], "[]")
		var b [4]byte
		var port uint16
		if _, err := fmt.Sscanf(fields[1][colon+1:], "%04X", &port); err != nil {
			continue
		}
		if n, err := fmt.Sscanf(host, "%02X%02X%02X%02X", &b[0], &b[1], &b[2], &b[3]); err == nil && n == 4 && len(host) == 8 {
			host = net.IP(b[:]).String()
		}
		servers = append(servers, ipvsServer{flag, net.JoinHostPort(host, fmt.Sprint(port))})
	}
	return servers
}

// findIPVS names the command for virtual servers: others, such as keepalived,
// have some too, and the kernel does not say whose one is.
func (l *Leftovers) findIPVS() error {
	content, err := os.ReadFile(procNet + "ip_vs")
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	servers := parseIPVS(string(content))
	if len(servers) == 0 {
		return nil
	}
	l.Manual = append(l.Manual, fmt.Sprintf("%s of IPVS, such as %s: if kube-proxy alone used IPVS here, run: ipvsadm --clear; else for each of kube-proxy's: ipvsadm -D %s %s",
		number(len(servers), "virtual server"), servers[0].address, servers[0].flag, servers[0].address))
	return nil
}
