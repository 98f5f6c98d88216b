package migrate

import "maps"

// keys are those of ingress-nginx's ConfigMap. Those that are not here are unknown, or
// have no effect that is worth a word of its own.
func keys() map[string]setting {
	all := groupedKeys()
	maps.Copy(all, map[string]setting{
		"proxy-body-size":       {verdict: Differs, text: "is for each Ingress: annotation proxy-body-size; without it 1m", usual: []string{"1m", "1M"}},
		"proxy-connect-timeout": {verdict: Differs, text: "is for each Ingress: annotation proxy-connect-timeout; without it 5 s", usual: []string{"5"}},
		"proxy-read-timeout":    {verdict: Differs, text: "is for each Ingress: annotation proxy-read-timeout; without it 60 s", usual: []string{"60"}},
		"proxy-send-timeout":    {verdict: Differs, text: "is for each Ingress: annotation proxy-send-timeout; without it 60 s", usual: []string{"60"}},
		"proxy-next-upstream":   {verdict: Differs, text: "is for each Ingress: annotation proxy-next-upstream", usual: []string{"error timeout"}},
		"ssl-redirect":          {verdict: Differs, text: "is for each Ingress: annotation ssl-redirect; without it true", usual: []string{"true"}},
		"force-ssl-redirect":    {verdict: Differs, text: "is for each Ingress: annotation force-ssl-redirect", usual: []string{"false"}},
		"load-balance":          {verdict: Differs, text: "is for each Ingress: annotation load-balance", usual: []string{"round_robin"}},
		"upstream-hash-by":      {verdict: Differs, text: "is for each Ingress: annotation upstream-hash-by", usual: []string{""}},
		"limit-rate":            {verdict: Differs, text: "is for each Ingress: annotation limit-rate", usual: []string{"0"}},
		"limit-rate-after":      {verdict: Differs, text: "is for each Ingress: annotation limit-rate-after", usual: []string{"0"}},
		"http-redirect-code":    {verdict: Differs, text: "redirects to HTTPS are 308", usual: []string{"308"}},
		"limit-req-status-code": {verdict: Differs, text: "who asks too often gets 503", usual: []string{"503"}},
		"limit-conn-status-code": {
			verdict: Differs, text: "who has too many requests at a time gets 503", usual: []string{"503"},
		},
		"use-forwarded-headers":       {verdict: Differs, text: "name the load balancers whose word counts: gateway.trustedProxies", usual: []string{"false"}},
		"enable-real-ip":              {verdict: Differs, text: "name the load balancers whose word counts: gateway.trustedProxies", usual: []string{"false"}},
		"proxy-real-ip-cidr":          {verdict: Differs, text: "these ranges belong into gateway.trustedProxies"},
		"compute-full-forwarded-for":  {verdict: Differs, text: "see gateway.trustedProxies", usual: []string{"false"}},
		"forwarded-for-header":        {verdict: Differs, text: "the client's address is taken from X-Forwarded-For only", usual: []string{"X-Forwarded-For"}},
		"use-proxy-protocol":          {verdict: Refused, text: "PROXY protocol is not spoken; have the load balancer keep addresses (externalTrafficPolicy: Local) or send X-Forwarded-For", usual: []string{"false"}},
		"ssl-protocols":               {verdict: Differs, text: "TLS 1.2 and 1.3 are spoken", usual: []string{"TLSv1.2 TLSv1.3", "TLSv1.3 TLSv1.2"}},
		"hsts":                        {verdict: Differs, text: "Strict-Transport-Security is never sent; let backends send it", usual: []string{"false"}},
		"use-http2":                   {verdict: Differs, text: "HTTP/2 is always on", usual: []string{"true"}},
		"use-gzip":                    {verdict: Differs, text: "answers are passed on as backends send them; let them compress", usual: []string{"false"}},
		"enable-brotli":               {verdict: Differs, text: "answers are passed on as backends send them; let them compress", usual: []string{"false"}},
		"add-headers":                 {verdict: Differs, text: "is for each Ingress: annotation custom-headers"},
		"hide-headers":                {verdict: Differs, text: "fields of answers are passed on; have backends not send them", usual: []string{""}},
		"proxy-set-headers":           {verdict: Differs, text: "backends do not get these fields"},
		"custom-http-errors":          {verdict: Differs, text: "is for each Ingress: annotation custom-http-errors, with default-backend", usual: []string{""}},
		"generate-request-id":         {verdict: Differs, text: "X-Request-ID is always there", usual: []string{"true"}},
		"server-tokens":               {verdict: Differs, text: "no version is told", usual: []string{"false"}},
		"worker-shutdown-timeout":     {verdict: Differs, text: "gateway.drain", usual: []string{"240s"}},
		"max-worker-connections":      {verdict: Differs, text: "gateway.maxConnections", usual: []string{"16384"}},
		"keep-alive":                  {verdict: Differs, text: "connections of clients are kept for 75 s", usual: []string{"75"}},
		"large-client-header-buffers": {verdict: Differs, text: "a line of a header may have 8 KB, all 32 KB", usual: []string{"4 8k"}},
		"strict-validate-path-type":   {verdict: Differs, text: "characters of paths are not restricted by type; nothing interprets them", usual: []string{"true"}},
		"service-upstream":            {verdict: Differs, text: "is for each Ingress: annotation service-upstream", usual: []string{"false"}},
		"ssl-reject-handshake":        {verdict: Differs, text: "without gateway.defaultCertificate, names that nobody has get no certificate", usual: []string{"false"}},
		"allow-snippet-annotations":   {verdict: Same, text: "what becomes of snippets is said at their Ingresses"},
		"annotations-risk-level":      {verdict: Same, text: "annotations are read as values of their types, so none is a risk to others"},
	})
	return all
}

// groupedKeys are those of which the same is said as of others.
func groupedKeys() map[string]setting {
	all := map[string]setting{}
	for text, names := range map[string][]string{
		"is not done here, and without it more is let in; keep it in front of the gateways, or have the annotations of the same name at each Ingress": {"global-auth-url", "whitelist-source-range", "denylist-source-range", "block-cidrs", "block-user-agents", "block-referers"},
		"is configuration of nginx as it is, which has no counterpart":                                                                                {"main-snippet", "http-snippet", "server-snippet", "location-snippet", "stream-snippet"},
		"there is no web application firewall for all Ingresses":                                                                                      {"enable-modsecurity", "enable-owasp-modsecurity-crs", "modsecurity-snippet"},
	} {
		for _, name := range names {
			all[name] = setting{verdict: Refused, text: text, usual: []string{"", "false"}}
		}
	}
	for text, names := range map[string][]string{
		"is about the inside of nginx": {
			"worker-processes", "worker-cpu-affinity", "enable-multi-accept", "max-worker-open-files", "map-hash-bucket-size", "server-name-hash-max-size",
			"server-name-hash-bucket-size", "proxy-headers-hash-max-size", "proxy-headers-hash-bucket-size", "variables-hash-bucket-size", "variables-hash-max-size",
			"reuse-port", "lua-shared-dicts", "plugins", "debug-connections", "nginx-status-ipv4-whitelist", "nginx-status-ipv6-whitelist", "default-type", "disable-ipv6-dns",
		},
		"requests and answers are passed on while they come, and never gathered": {"proxy-buffering", "proxy-request-buffering", "proxy-buffer-size", "proxy-buffers-number", "proxy-busy-buffers-size", "client-body-buffer-size", "client-header-buffer-size", "proxy-max-temp-file-size"},
		"connections to backends are always kept and used again":                 {"upstream-keepalive-connections", "upstream-keepalive-time", "upstream-keepalive-timeout", "upstream-keepalive-requests", "keep-alive-requests"},
		"it is the usual one":                             {"no-tls-redirect-locations", "no-auth-locations", "hsts-max-age", "hsts-include-subdomains", "hsts-preload"},
		"snippets are not interpreted, so no word is bad": {"annotation-value-word-blocklist"},
	} {
		for _, name := range names {
			all[name] = setting{verdict: Same, text: text}
		}
	}
	for text, names := range map[string][]string{
		"gateway.accessLog says what is logged, in JSON or in nginx's format": {"log-format-upstream", "log-format-escape-json", "log-format-escape-none", "log-format-stream", "disable-access-log", "access-log-path", "access-log-params", "http-access-log-path", "skip-access-log-urls", "error-log-level", "error-log-path", "enable-syslog", "syslog-host", "syslog-port"},
		"gateway.tracing says where spans go; nothing but OTLP is sent": {
			"enable-opentelemetry", "opentelemetry-config", "opentelemetry-operation-name", "opentelemetry-trust-incoming-span", "otlp-collector-host", "otlp-collector-port", "otel-service-name", "otel-sampler", "otel-sampler-ratio",
			"otel-sampler-parent-based", "otel-max-queuesize", "otel-schedule-delay-millis", "otel-max-export-batch-size", "enable-opentracing", "zipkin-collector-host", "jaeger-collector-host", "datadog-collector-host",
		},
		"the ciphers and curves are those of Go": {"ssl-ciphers", "ssl-ecdh-curve", "ssl-dh-param"},
	} {
		for _, name := range names {
			all[name] = setting{verdict: Differs, text: text}
		}
	}
	return all
}
