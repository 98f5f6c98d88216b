package main

import (
	"bufio"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
)

// The ports of the servers, in a network namespace of the bench's own.
const (
	fairleadPort = 5301 + iota
	coreDNSPort
	knotPort
	unboundPort
	upstreamPort
	apiPort
	kernelPort
)

// peers starts every server, Fairlead first.
func (w *world) peers() (map[string]*peer, error) {
	upstream := "-upstream=" + at(upstreamPort).String()
	if err := w.upstream(); err != nil {
		return nil, err
	}
	zone := w.path("cluster.local.zone")
	fairlead, err := w.role(serverCPU, "fairlead", at(fairleadPort), upstream, "-zone="+zone)
	if err != nil {
		return nil, err
	}
	api, err := w.role(loadCPU(), "api", at(apiPort))
	if err != nil {
		return nil, err
	}
	coreDNS, err := w.role(serverCPU, "coredns", at(coreDNSPort), upstream, "-api=http://"+api.address.String(), "-also="+wireServer)
	if err != nil {
		return nil, err
	}
	knot, err := w.daemon(serverCPU, "knot", at(knotPort), w.knotConfig("knot", at(knotPort), "cluster.local", zone), w.knot, "-c")
	if err != nil {
		return nil, err
	}
	unbound, err := w.startUnbound(zone)
	if err != nil {
		return nil, err
	}
	all := map[string]*peer{}
	for _, p := range []*peer{fairlead, coreDNS, knot, unbound} {
		all[p.name] = p
		if err := w.expect(p, fmt.Sprintf("%s.%s.svc.cluster.local.", serviceOf(w.services/2), namespaceOf(w.services/2))); err != nil {
			return nil, err
		}
		if p != knot {
			if err := w.expect(p, hostOf(1)); err != nil {
				return nil, err
			}
		}
	}
	return all, nil
}

// upstream starts the server of the names outside of the cluster, beside the load.
func (w *world) upstream() error {
	var zone strings.Builder
	zone.WriteString("example.com. 3600 SOA ns.example.com. root.example.com. 1 7200 1800 86400 60\nexample.com. 3600 NS ns.example.com.\nns.example.com. 3600 A 127.0.0.1\n")
	for i := range hosts {
		fmt.Fprintf(&zone, "%s 3600 A 192.0.2.%d\n", hostOf(i), i%256)
	}
	path := w.path("example.com.zone")
	if err := os.WriteFile(path, []byte(zone.String()), 0o600); err != nil {
		return err
	}
	p, err := w.daemon(loadCPU(), "upstream", at(upstreamPort), w.knotConfig("upstream", at(upstreamPort), "example.com", path), w.knot, "-c")
	if err != nil {
		return err
	}
	return w.expect(p, hostOf(0))
}

func (w *world) knotConfig(name string, listen netip.AddrPort, domain, file string) string {
	directory := w.path(name)
	_ = os.Mkdir(directory, 0o700) // Knot says so if it is not there
	return fmt.Sprintf(`server:
    rundir: %[1]s
    listen: %[2]s@%[3]d
    udp-workers: 1
    tcp-workers: 1
    background-workers: 1
log:
  - target: stdout
    any: info
database:
    storage: %[1]s
zone:
  - domain: %[4]s
    file: %[5]s
    zonefile-sync: -1
`, directory, listen.Addr(), listen.Port(), domain, file)
}

// startUnbound gives unbound the addresses of the zone as its own, in a zone that
// has nothing else, and an upstream for all other names.
func (w *world) startUnbound(zone string) (*peer, error) {
	data := w.path("local-data.conf")
	if err := localData(zone, data); err != nil {
		return nil, err
	}
	return w.daemon(serverCPU, "unbound", at(unboundPort), fmt.Sprintf(`server:
    interface: %s@%d
    num-threads: 1
    do-daemonize: no
    use-syslog: no
    username: ""
    chroot: ""
    directory: %q
    pidfile: ""
    module-config: "iterator"
    do-not-query-localhost: no
    local-zone: "cluster.local." static
    include: %q
remote-control:
    control-enable: no
forward-zone:
    name: "."
    forward-addr: %s@%d
`, at(unboundPort).Addr(), unboundPort, w.directory, data, at(upstreamPort).Addr(), upstreamPort), w.unbound, "-d", "-c")
}

// localData writes the SOA and A records of a zone file in unbound's words.
func localData(zone, to string) error {
	in, err := os.Open(zone)
	if err != nil {
		return err
	}
	defer in.Close()
	file, err := os.Create(to)
	if err != nil {
		return err
	}
	out := bufio.NewWriter(file)
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		if fields := strings.Fields(lines.Text()); len(fields) > 4 && (fields[3] == "A" || fields[3] == "SOA") {
			fmt.Fprintf(out, "local-data: %q\n", lines.Text())
		}
	}
	return errors.Join(lines.Err(), out.Flush(), file.Close())
}
