package migrate

// flags are those of ingress-nginx's command line, without dashes.
func flags() map[string]setting {
	yes := []string{"true", ""}
	no := []string{"false"}
	all := map[string]setting{
		"default-ssl-certificate":         {verdict: Differs, text: "set gateway.defaultCertificate to it"},
		"default-backend-service":         {verdict: Differs, text: "set gateway.defaultBackend to it, with :PORT"},
		"enable-ssl-passthrough":          {verdict: Differs, text: "set gateway.tlsPassthrough: true", usual: no, boolean: true},
		"tcp-services-configmap":          {verdict: Differs, text: "set gateway.tcpServices to it", usual: []string{"ingress-nginx/tcp-services"}},
		"udp-services-configmap":          {verdict: Differs, text: "set gateway.udpServices to it", usual: []string{"ingress-nginx/udp-services"}},
		"ingress-class":                   {verdict: Differs, text: "annotation kubernetes.io/ingress.class: of names without IngressClass only nginx is taken over; make an IngressClass of this name with controller k8s.io/ingress-nginx", usual: []string{"nginx"}},
		"controller-class":                {verdict: Differs, text: "only IngressClasses with controller k8s.io/ingress-nginx are taken over; make one with that controller for its Ingresses", usual: []string{"k8s.io/ingress-nginx"}},
		"ingress-class-by-name":           {verdict: Differs, text: "classes go by their controller; see that the IngressClass has k8s.io/ingress-nginx", usual: no, boolean: true},
		"watch-ingress-without-class":     {verdict: Differs, text: "Ingresses without class are of the default IngressClass: annotate that of ingress-nginx with ingressclass.kubernetes.io/is-default-class: \"true\"", usual: no, boolean: true},
		"annotations-prefix":              {verdict: Refused, text: "annotations with another prefix are not read", usual: []string{"nginx.ingress.kubernetes.io"}},
		"watch-namespace":                 {verdict: Differs, text: "Ingresses of every namespace are served; have a class of their own for those that are not to be", usual: []string{""}},
		"watch-namespace-selector":        {verdict: Differs, text: "Ingresses of every namespace are served; have a class of their own for those that are not to be", usual: []string{""}},
		"http-port":                       {verdict: Differs, text: "gateway.httpPort", usual: []string{"80"}},
		"https-port":                      {verdict: Differs, text: "gateway.httpsPort", usual: []string{"443"}},
		"publish-service":                 {verdict: Same, text: "config.gateway.service, which is the chart's own Service if it is not set"},
		"publish-status-address":          {verdict: Differs, text: "the status of Ingresses has the addresses of config.gateway.service"},
		"report-node-internal-ip-address": {verdict: Differs, text: "the status of Ingresses has the addresses of config.gateway.service", usual: no, boolean: true},
		"update-status":                   {verdict: Differs, text: "the status is written where config.gateway.service is known", usual: yes, boolean: true},
		"disable-catch-all":               {verdict: Differs, text: "an Ingress without host takes what no other host has", usual: no, boolean: true},
		"disable-svc-external-name":       {verdict: Differs, text: "set gateway.externalNames: false", usual: no, boolean: true},
		"disable-full-test":               {verdict: Same, boolean: true},
		"enable-ssl-chain-completion":     {verdict: Differs, text: "certificates are sent as their Secrets have them; put the whole chain there", usual: no, boolean: true},
		"deep-inspect":                    {verdict: Same, text: "nothing is made of texts that could be inspected", boolean: true},
		"enable-annotation-validation":    {verdict: Same, text: "annotations are always checked", boolean: true},
		"maxmind-license-key":             {verdict: Differs, text: "where clients are is not found out"},
		"configmap":                       {verdict: Differs, text: "set gateway.nginxConfigMap to it; its keys are listed at the ConfigMap", usual: []string{"ingress-nginx/ingress-nginx-controller"}},
	}
	for text, names := range map[string][]string{
		"nothing waits in front of the API server for Ingresses here: what is wrong is said at the object": {"validating-webhook", "validating-webhook-certificate", "validating-webhook-key"},
		"fairlead has its own": {
			"election-id", "election-ttl", "disable-leader-election", "enable-metrics", "metrics-per-host", "metrics-per-undefined-host", "healthz-port", "healthz-host", "health-check-path", "health-check-timeout", "status-port",
			"stream-port", "profiling", "profiler-port", "profiler-address", "v", "logtostderr", "alsologtostderr", "stderrthreshold", "kubeconfig", "apiserver-host", "certificate-authority", "bind-addresses", "post-shutdown-grace-period", "shutdown-grace-period", "update-status-on-shutdown",
			"default-server-port", "ssl-passthrough-proxy-port", "internal-logger-address", "enable-topology-aware-routing", "dynamic-configuration-retries",
		},
		"changes take effect at once, without a reload": {"sync-period", "sync-rate-limit", "enable-dynamic-configuration", "sort-backends"},
	} {
		for _, name := range names {
			all[name] = setting{verdict: Same, text: text}
		}
	}
	return all
}
