package corefile

// lacking says of what CoreDNS does and Fairlead does not what happens instead,
// or what to do. Its keys are a directive, a directive and an option, or these
// and a value. When the server learns something, its entry goes.
var lacking = map[string]string{
	"errors stacktrace":                 "failures are logged without stack traces",
	"health address":                    "health is answered at :8080/health; name an address instead of a host",
	"health lameduck longer":            "a server that closes goes on answering for at most 1m",
	"ready address":                     "readiness is answered at :8181/ready; name an address instead of a host",
	"prometheus address":                "metrics are at :9153/metrics; name an address instead of a host",
	"server transport":                  "DNS over TLS and over HTTPS are served for all names, as dns.tls and dns.https in fairlead.yaml say",
	"server transport other":            "it is served by UDP, TCP, TLS and HTTPS only",
	"server zone":                       "names that its directives do not answer are treated like all others",
	"kubernetes zones":                  "one zone of the cluster is served, the first one named",
	"forward next":                      "the answer is returned as it is",
	"cache serve_stale longer":          "answers are used for at most 168h beyond their TTL",
	"cache serve_stale_policy":          "an answer that says there is nothing is given before one that has expired",
	"forward files":                     "the servers of the last file are used",
	"forward cluster":                   "names of the cluster's own zone are not asked upstream",
	"forward source_address":            "the system chooses the address",
	"forward resolver":                  "name upstream servers by address",
	"forward doh_method":                "upstream servers are asked by DNS or DNS over TLS",
	"loadbalance weighted":              "addresses are rotated, each as often as the others",
	"loadbalance prefer":                "addresses are rotated, each as often as the others",
	"bind interface":                    "name addresses instead of interfaces",
	"bind except":                       "name the addresses to listen at",
	"rewrite edns0 metadata":            "there is no metadata, so the rule is for no query",
	"log values":                        "a dash stands for metadata",
	"bufsize elsewhere":                 "the size in the server block for all names counts for all",
	"autopath file":                     "write @kubernetes, for the search paths of pods; clients try others themselves",
	"trace":                             "queries are not traced",
	"dnstap listen":                     "name the address of a collector to connect to",
	"dnstap extra values":               "a dash stands for metadata",
	"cancel":                            "a query ends after 5 seconds",
	"root":                              "there are no files of zones",
	"tls":                               "dns.tls in fairlead.yaml names the certificate for DNS over TLS and HTTPS",
	"debug":                             "set logLevel: debug in fairlead.yaml",
	"kubernetes noendpoints and ignore": "no Service would have a name: without endpoints every one is empty; Fairlead takes one of the two",
	"k8s_external fallthrough zones":    "all its zones fall through",
}

// without are options that have nothing to act on in Fairlead, and why.
var without = map[string]string{
	"kubernetes endpoint":               "Fairlead finds the API server itself (apiServers in fairlead.yaml)",
	"kubernetes tls":                    "Fairlead finds the API server itself (apiServers in fairlead.yaml)",
	"kubernetes kubeconfig":             "Fairlead finds the API server itself (apiServers in fairlead.yaml)",
	"kubernetes resyncperiod":           "CoreDNS ignores it as well",
	"kubernetes upstream":               "CoreDNS ignores it as well",
	"kubernetes apiserver_qps":          "Fairlead watches and does not poll",
	"kubernetes apiserver_burst":        "Fairlead watches and does not poll",
	"kubernetes apiserver_max_inflight": "Fairlead watches and does not poll",
	"kubernetes startup_timeout":        "until all is known, unknown names get SERVFAIL, and the server is not ready",
	"whoami":                            "forward has an answer for all names before it",
	"autopath":                          "only with \"pods verified\" it is known which pod asks",
	"forward max_age":                   "Fairlead decides itself how long connections that are used are kept",
	"forward max_idle_conns":            "Fairlead keeps at most 16 connections to a server",
	"forward max_connect_attempts":      "Fairlead asks a server at most three times",
	"forward prefer_udp":                "Fairlead always asks by UDP first",
}

// others are directives of CoreDNS whose arguments are not looked at, as
// clusters hardly use them.
var others = []string{
	"auto", "azure", "clouddns", "dnssec", "erratic", "etcd", "file", "geoip", "grpc", "grpc_server", "header", "https", "https3",
	"loopback", "metadata", "multisocket", "nomad", "on", "pprof", "proxyproto", "quic", "route53", "secondary", "shed", "sign",
	"timeouts", "transfer", "tsig", "view",
}
