package config

import (
	"reflect"
	"strings"
	"testing"
)

func TestEmptyFileIsDefault(t *testing.T) {
	for _, text := range []string{"", "# nothing\n"} {
		c, err := Parse([]byte(text))
		if err != nil || !reflect.DeepEqual(c, Default()) {
			t.Errorf("%q: %+v, %v", text, c, err)
		}
	}
}

func TestParse(t *testing.T) {
	c, err := Parse([]byte("clusterDomain: k8s.example\nlogLevel: debug\napiServers: [https://192.0.2.1:6443]\ndns:\n  lameduck: 2s\n  listen: [\"192.0.2.9:53\"]\n"))
	if err != nil {
		t.Fatal(err)
	}
	if c.ClusterDomain != "k8s.example" || c.LogLevel != "debug" || c.DNS.Lameduck.Seconds() != 2 || c.DNS.Listen[0].Port() != 53 || c.DNS.TTL != 30 {
		t.Errorf("%+v", c)
	}
}

// TestNoMetricsAddress: kube-proxy's way of switching its port off.
func TestNoMetricsAddress(t *testing.T) {
	c, err := Parse([]byte("lb: {metricsBindAddress: \"\"}"))
	if err != nil || c.LB.MetricsBindAddress.IsValid() {
		t.Errorf("%v, %v", c.LB.MetricsBindAddress, err)
	}
	if c, err = Parse([]byte("lb: {metricsBindAddress: \"[::1]:10249\"}")); err != nil || c.LB.MetricsBindAddress.String() != "[::1]:10249" {
		t.Errorf("%v, %v", c.LB.MetricsBindAddress, err)
	}
}

// TestMessages holds what a user reads who made a mistake.
func TestMessages(t *testing.T) {
	for text, want := range map[string]string{
		"migration: {ingressNgnix: true}":              `line 1: unknown field "ingressNgnix"; did you mean "ingressNginx"?`,
		"lgoLevel: info":                               `line 1: unknown field "lgoLevel"; did you mean "logLevel"?`,
		"dns:\n  nonsense: 1":                          `line 2: unknown field "nonsense"; known here are corefile, listen, ttl, pods, endpointPodNames, noEndpoints, ignoreEmptyServices, namespaces, namespaceLabels, labels, external, multiclusterZones, zonal, fallthrough, autopath, maxUDP, upstreams, resolvConf, forward, cache, countNames, lameduck, service, nodeLocal, kernelFastPath, tls, https`,
		"dns:\n  ttl: soon":                            "line 2: `soon` is not a number from 0 to 4294967295",
		"dns:\n  lameduck: soon":                       "line 2: `soon` is not a duration such as 5s",
		"logLevel: loud":                               `logLevel: "loud" is none of debug, info, warn and error`,
		"lb: [1]":                                      "line 1: a list is not a mapping with fields of its own",
		"dns: {ttl: 9000}":                             "dns.ttl: is 9000; at most 3600 seconds, as clients would hold on to endpoints that are gone",
		"dns: {pods: maybe}":                           `dns.pods: "maybe" is none of insecure, verified and disabled`,
		"dns: {namespaces: [A]}":                       `dns.namespaces[0]: "A" is not the name of a namespace: a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')`,
		"dns: {namespaces: [a], namespaceLabels: a=b}": "dns.namespaceLabels: is set, and so is dns.namespaces; namespaces are chosen by name or by labels, keep one of them",
		"dns: {labels: a in}":                          "dns.labels: \"a in\" is no label selector such as team=a,stage!=test: unable to parse requirement: found '' expected: '('",
		"dns: {noEndpoints: true, ignoreEmptyServices: true}":                        "dns.ignoreEmptyServices: is true, but with dns.noEndpoints every Service is empty, and no name would be left; set one of them",
		"dns: {external: {zones: [a.org, A.org.]}}":                                  `dns.external.zones[1]: "A.org." is there twice, or the clusterDomain; each zone has its own names`,
		"dns: {external: {zones: [cluster.local]}}":                                  `dns.external.zones[0]: "cluster.local" is there twice, or the clusterDomain; each zone has its own names`,
		"dns: {external: {ttl: 3601}}":                                               "dns.external.ttl: is 3601; at most 3600 seconds, as clients would hold on to addresses that are gone",
		"dns: {external: {zone: a.org}}":                                             `line 1: unknown field "zone"; did you mean "zones"?`,
		"dns: {external: {zones: [a.org]}, multiclusterZones: [A.org]}":              `dns.multiclusterZones[0]: "A.org" is there twice, or the clusterDomain; each zone has its own names`,
		"dns: {zonal: true, noEndpoints: true}":                                      "dns.zonal: is true, and so is dns.noEndpoints; zones are those of endpoints, set one of them",
		"dns: {noEndpoints: maybe}":                                                  "line 1: `maybe` is not true or false",
		"dns: {tls: {listen: [\"[::]:853\"], key: /k}}":                              "dns.tls: needs both certificate and key, the names of files in PEM form",
		"dns: {https: {listen: [\"[::]:443\"]}}":                                     "dns.tls: needs both certificate and key, the names of files in PEM form",
		"dns: {tls: {certificate: /c}}":                                              `dns.tls.listen: is empty, so the certificate is not used; write ADDRESS:PORT, such as "[::]:853"`,
		"dns: {listen: []}":                                                          `dns.listen: is empty; write at least one ADDRESS:PORT, such as "[::]:53"`,
		"apiServers: [192.0.2.1:6443]":                                               `apiServers[0]: "192.0.2.1:6443" is not of the form https://HOST:PORT`,
		"lb: {xdp: sometimes}":                                                       `lb.xdp: "sometimes" is none of auto, native and disabled`,
		"lb: {nodePortRange: 30000}":                                                 "line 1: `30000` is not a range of ports such as 30000-32767",
		"lb: {directReturn: true, packetDataplane: ebpf}":                            "lb.directReturn: needs lb.nodeService, by which nodes know each other; the chart sets it",
		"lb: {directReturn: true, nodeService: fairlead/node}":                       "lb.directReturn: needs lb.packetDataplane: ebpf, so that a node that cannot do it says so instead of losing connections",
		"lb: {packetDataplane: ebpf, serviceDataplane: nftables}":                    "lb.packetDataplane: is ebpf, but lb.serviceDataplane: nftables means no eBPF at all; say auto for one of them",
		"lb: {metricsBindAddress: 0.0.0.0:10256, healthzBindAddress: 0.0.0.0:10256}": "lb.healthzBindAddress: is 0.0.0.0:10256, as lb.metricsBindAddress; give them two ports, 10256 and 10249 with kube-proxy",
		"dns: {forward: {zones: [{name: a.example, servers: [{address: '192.0.2.1:53', protocol: quic}]}]}}": `dns.forward.zones[0].servers[0].protocol: "quic" is none of udp, tcp and tls`,
		"dns: {forward: {zones: [{name: a.example}]}}":                                                       `dns.forward.zones[0].servers: is empty; name at least one server, or a resolvConf`,
		"dns: {forward: {zones: [{name: a, resolvConf: /x, except: [b]}]}}":                                  `dns.forward.zones[0].except[0]: "b" does not lie in a`,
		"dns: {forward: {policy: best}}":                                                                     `dns.forward.policy: "best" is none of random, round_robin and sequential`,
		"dns: {forward: {failover: [NXDOMIAN]}}":                                                             `dns.forward.failover[0]: "NXDOMIAN" is none of FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED`,
		"dns: {upstreams: ['192.0.2.1:53'], forward: {servers: [{address: '192.0.2.1:53'}]}}":                "dns.upstreams: and dns.forward both name servers for all names; move them to dns.forward.servers",
		"dns: {forward: {servers: [{address: '0.0.0.0:53'}]}}":                                               "dns.forward.servers[0].address: 0.0.0.0:53 is no ADDRESS:PORT that can be asked, such as 192.0.2.53:53",
		"dns: {forward: {tls: {certFile: /a}}}":                                                              "dns.forward.tls: certFile and keyFile need each other",
		"dns: {forward: {timeout: 2m}}":                                                                      "dns.forward.timeout: 2m0s is not between 0s and 1m",
		"dns: {cache: {servfail: 10m}}":                                                                      "dns.cache.servfail: 10m0s is more than 5m, the most that RFC 2308 allows",
		"dns: {cache: {success: {minTTL: 1m}}}":                                                              "dns.cache.success.minTTL: 1m0s is not between 0s and maxTTL",
		"dns:\n  cache:\n    keepTLL: true":                                                                  `line 3: unknown field "keepTLL"; did you mean "keepTTL"?`,
		"a: [":                                                                                               "not valid YAML: line 1: did not find expected node content",
		"dns:\n\tttl: 3":                                                                                     "not valid YAML: line 2: found character that cannot start any token",
	} {
		expectMessage(t, text, want)
	}
	for _, text := range []string{"dns: {listen: [nowhere]}", "dns: {upstreams: [1.2.3.4]}"} {
		if _, err := Parse([]byte(text)); err == nil || strings.Contains(err.Error(), "netip") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// expectMessage expects what is said of a configuration.
func expectMessage(t *testing.T, text, want string) {
	t.Helper()
	if _, err := Parse([]byte(text)); err == nil || err.Error() != want {
		t.Errorf("%q:\n got %v\nwant %s", text, err, want)
	}
}

// TestGatewayMessages is TestMessages for the section about gateways.
func TestGatewayMessages(t *testing.T) {
	for text, want := range map[string]string{
		"gateway: {accessLog: {output: log.txt}}":            `gateway.accessLog.output: "log.txt" is neither stdout nor an absolute path`,
		"gateway: {accessLog: {format: \"$statsu\"}}":        `gateway.accessLog.format: has the variable $statsu, which is not known, the list is in docs/observability.md`,
		"gateway: {accessLog: {format: combined}}":           `gateway.accessLog.format: "combined" is neither json nor nginx, nor does it have a variable such as $status`,
		"gateway: {accessLog: {skipURLs: [\"~(\"]}}":         "gateway.accessLog.skipURLs: has \"~(\", which is not a regular expression: error parsing regexp: missing closing ): `(`",
		"gateway: {tracing: {endpoint: \"collector:4317\"}}": `gateway.tracing.endpoint: "collector:4317" is not of the form http://HOST:PORT or https://HOST:PORT`,
		"gateway: {tracing: {sampler: ratio}}":               `gateway.tracing: sampler "ratio" is none of always_on, always_off, traceidratio, parentbased_always_on, parentbased_always_off and parentbased_traceidratio`,
		"gateway: {tracing: {ratio: 2}}":                     "gateway.tracing: ratio 2 is not from 0 to 1",
		"gateway: {defaultCertificate: tls}":                 `gateway.defaultCertificate: "tls" is not of the form NAMESPACE/NAME`, "gateway: {defaultBackend: a/b}": `gateway.defaultBackend: "a/b" is not of the form NAMESPACE/NAME:PORT`,
	} {
		expectMessage(t, text, want)
	}
}

// TestForwarding reads every field of the sections about other servers.
func TestForwarding(t *testing.T) {
	c, err := Parse([]byte(`
dns:
  forward:
    servers: [{address: "192.0.2.1:853", protocol: tls, serverName: dns.example}]
    tls: {caFile: /ca}
    zones:
    - {name: example.local, servers: [{address: "10.1.2.3:53"}], forceTCP: true, except: [a.example.local], failover: [NXDOMAIN], healthCheck: {interval: 1s, domain: example.local, noRecursion: true}}
  cache: {success: {capacity: 5, maxTTL: 1h, minTTL: 5s}, prefetch: {amount: 10, percentage: 20}, serveStale: {duration: 1h, verify: true}, disableDenial: [example.org], servfail: -1s}
`))
	if err != nil {
		t.Fatal(err)
	}
	f, cache := c.DNS.Forward, c.DNS.Cache
	if f.Servers[0].ServerName != "dns.example" || f.TLS.CAFile != "/ca" || f.Zones[0].Servers[0].Address.String() != "10.1.2.3:53" || !f.Zones[0].HealthCheck.NoRecursion {
		t.Errorf("%+v", f)
	}
	if cache.Success.MaxTTL.Hours() != 1 || !cache.ServeStale.Verify || cache.DisableDenial[0] != "example.org" || cache.ServFail >= 0 {
		t.Errorf("%+v", cache)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("dns: {ttl: 5}\nlb: {bpffs: /sys/fs/bpf/x}"))
	f.Fuzz(func(_ *testing.T, text []byte) {
		_, _ = Parse(text)
	})
}

// TestDNSMessages does the same for what is peculiar to DNS.
func TestDNSMessages(t *testing.T) {
	for text, want := range map[string]string{
		"dns: {autopath: true}":         "dns.autopath: is true, but without dns.pods: verified it is not known which pod asks; set both",
		"dns: {nodeLocal: [127.0.0.1]}": "dns.nodeLocal[0]: 127.0.0.1 is no address that pods can reach; usual is 169.254.20.10",
		"dns: {maxUDP: 100}":            "dns.maxUDP: is 100; write 512 to 4096 bytes",
		"dns: {fallthrough: [\"a b\"]}": "dns.fallthrough[0]: \"a b\" is not a DNS name: a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
	} {
		if _, err := Parse([]byte(text)); err == nil || err.Error() != want {
			t.Errorf("%q:\n got %v\nwant %s", text, err, want)
		}
	}
}
