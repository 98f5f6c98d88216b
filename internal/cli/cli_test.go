package cli

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite what commands are expected to print")

// run runs one command line and returns its exit code and what it printed.
func run(t *testing.T, args ...string) (code int, out, err string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code = Main(t.Context(), args, Streams{In: strings.NewReader(""), Out: &stdout, Err: &stderr})
	return code, stdout.String(), stderr.String()
}

// TestOutput holds what commands print for the folder testdata/demo. Run with
// -update after a change, and commit only what you understand.
func TestOutput(t *testing.T) {
	for name, line := range map[string]string{
		"services":           "services",
		"services-namespace": "services -n prod",
		"services-none":      "services -n nowhere",
		"explain-shop":       "explain service demo/shop",
		"explain-web-node":   "explain service demo/web --node worker-1",
		"explain-web":        "explain service demo/web",
		"explain-headless":   "explain service demo/db",
		"explain-alias":      "explain service demo/payments",
		"explain-foreign":    "explain service prod/elsewhere",
		"explain-taken":      "explain service prod/shop",
		"connection-shop":    "explain connection node/worker-1 shop.demo:80",
		"connection-web":     "explain connection node/worker-3 10.96.0.30:80",
		"connection-outside": "explain connection outside/203.0.113.9 10.96.0.20:53/udp --node worker-2",
		"connection-port":    "explain connection node/worker-1 10.96.0.20:81",
		"connection-nobody":  "explain connection outside 192.0.2.1:443",
		"query-search":       "dns query shop -n demo",
		"query-outside":      "dns query www.example.com -n demo",
		"query-srv":          "dns query _http._tcp.web.demo.svc.cluster.local -t srv",
		"query-alias":        "dns query payments.demo.svc.cluster.local. -t A",
		"query-address":      "dns query 10.96.0.20",
		"request-shop":       "explain request GET https://Shop.example.com:8443//cart/./?x=1#y -H X-Canary:always",
		"request-missing":    "explain request GET http://shop.example.com/old/%7Ea%2fb",
		"request-nobody":     "explain request GET http://[2001:db8::1]/",
		"compile":            "compile",
		"compile-node":       "compile --node worker-2 --zone west --cluster-domain example.org",
	} {
		for _, form := range []string{"text", "json", "yaml"} {
			t.Run(name+"."+form, func(t *testing.T) {
				code, out, err := run(t, append(strings.Fields(line), "-f", "testdata/demo", "-o", form)...)
				if code != 0 || err != "" {
					t.Fatalf("exit code %d\n%s", code, err)
				}
				file := filepath.Join("testdata", "golden", name+"."+form)
				if *update {
					if err := os.WriteFile(file, []byte(out), 0o644); err != nil {
						t.Fatal(err)
					}
				}
				want, problem := os.ReadFile(file)
				if problem != nil {
					t.Fatal(problem)
				}
				if diff := cmp.Diff(string(want), out); diff != "" {
					t.Errorf("run with -update if this is meant (-want +got):\n%s", diff)
				}
			})
		}
	}
}

const seeHelp = "See 'fairlead --help'.\n"

// TestMistakes holds what a user reads who made a mistake, and the exit code: 2
// for a wrong command line, 1 for a failure.
func TestMistakes(t *testing.T) {
	for line, want := range map[string]struct {
		code int
		text string
	}{
		"dns query":                                              {2, "fairlead: 0 arguments given, wanted NAME\n" + seeHelp},
		"dns query a..b -f testdata/demo":                        {2, "fairlead: \"a..b\" is not a name: labels of 1 to 63 characters with dots between them, 253 in all\n" + seeHelp},
		"dns query shop -t AAA -f testdata/demo":                 {2, "fairlead: --type AAA: there is no such type of records here; use for example A, AAAA, SRV, PTR, TXT or TYPE257\n" + seeHelp},
		"dns query shop --from a/b -f testdata/demo":             {2, "fairlead: pods are not read from a folder; use --namespace\n" + seeHelp},
		"dns query shop --from a/b -n a":                         {2, "fairlead: --from and --namespace both say who asks; use one\n" + seeHelp},
		"explain request GET shop.example.com/ -f testdata/demo": {2, "fairlead: \"shop.example.com/\" does not begin with http:// or https://\n" + seeHelp},
		"explain request GET http:///x -f testdata/demo":         {2, "fairlead: \"http:///x\" has no host\n" + seeHelp},
		"explain request GET http://a/../x -f testdata/demo":     {2, "fairlead: a gateway answers this with 400: the path leads above the root\n" + seeHelp},
		"explain request GET http://a/ -H x -f testdata/demo":    {2, "fairlead: --header \"x\" is not of the form NAME: VALUE\n" + seeHelp},
		"explain request GET http://a/ --ingress-nginx":          {2, "fairlead: --ingress-nginx goes with -f; a cluster's configuration says it\n" + seeHelp},
		"colour":                                     {2, "fairlead: unknown command \"colour\" for \"fairlead\"\n" + seeHelp},
		"servces":                                    {2, "fairlead: unknown command \"servces\" for \"fairlead\"\n\nDid you mean this?\n\tservices\n\n" + seeHelp},
		"explain servic demo/shop":                   {2, "fairlead: unknown command \"servic\" for \"fairlead explain\"\n" + seeHelp},
		"services --colour":                          {2, "fairlead: unknown flag: --colour\n" + seeHelp},
		"services -f":                                {2, "fairlead: flag needs an argument: 'f' in -f\n" + seeHelp},
		"services more":                              {2, "fairlead: unknown command \"more\" for \"fairlead services\"\n" + seeHelp},
		"compile":                                    {2, "fairlead: name a folder of manifests with -f\n" + seeHelp},
		"compile -f /does/not/exist":                 {2, "fairlead: --filename /does/not/exist is not a folder; name one that holds .yaml or .json manifests\n" + seeHelp},
		"services -f testdata/demo/shop.yaml":        {2, "fairlead: --filename testdata/demo/shop.yaml is not a folder; name one that holds .yaml or .json manifests\n" + seeHelp},
		"services -f testdata/broken":                {1, "fairlead: manifests in testdata/broken: b.yaml: document 2: yaml: line 1: did not find expected node content\n"},
		"services -f testdata/misspelt":              {1, "fairlead: manifests in testdata/misspelt: a.yaml: document 1: strict decoding error: unknown field \"spec.prots\"\n"},
		"explain service -f testdata/demo":           {2, "fairlead: 0 arguments given, wanted NAMESPACE/NAME\n" + seeHelp},
		"explain service a b":                        {2, "fairlead: 2 arguments given, wanted NAMESPACE/NAME\n" + seeHelp},
		"explain service a/b/c":                      {2, "fairlead: \"a/b/c\" is not of the form NAMESPACE/NAME\n" + seeHelp},
		"explain service /b":                         {2, "fairlead: \"/b\" is not of the form NAMESPACE/NAME\n" + seeHelp},
		"explain service shop -f testdata/demo":      {1, "fairlead: there is no Service default/shop; did you mean demo/shop or prod/shop?\n"},
		"explain service demo/we -f testdata/demo":   {1, "fairlead: there is no Service demo/we; did you mean demo/web?\n"},
		"explain service demo/none -f testdata/demo": {1, "fairlead: there is no Service demo/none; 'fairlead services' lists them\n"},
		"explain connection a b c":                   {2, "fairlead: 3 arguments given, wanted FROM TO:PORT\n" + seeHelp},
		"explain connection demo/shop shop.demo:80 -f testdata/demo":   {2, "fairlead: pods are not read from a folder; name a node (node/NAME) or outside\n" + seeHelp},
		"explain connection node/ shop.demo:80 -f testdata/demo":       {2, "fairlead: node/ wants the name of a node after it\n" + seeHelp},
		"explain connection outside/x shop.demo:80 -f testdata/demo":   {2, "fairlead: \"outside/x\" is not of the form outside:ADDRESS\n" + seeHelp},
		"explain connection node/a shop.demo -f testdata/demo":         {2, "fairlead: \"shop.demo\" is not of the form TO:PORT or TO:PORT/PROTOCOL\n" + seeHelp},
		"explain connection node/a shop.demo:http -f testdata/demo":    {2, "fairlead: \"http\" is not a port number (1 to 65535)\n" + seeHelp},
		"explain connection node/a shop:80 -f testdata/demo":           {2, "fairlead: \"shop\" is neither an address nor of the form NAME.NAMESPACE\n" + seeHelp},
		"explain connection node/a shop.demo:80/quic -f testdata/demo": {2, "fairlead: protocol \"quic\" is none of tcp, udp and sctp\n" + seeHelp},
		"explain connection node/a sho.demo:80 -f testdata/demo":       {1, "fairlead: there is no Service demo/sho; did you mean demo/shop?\n"},
		"explain connection node/a db.demo:5432 -f testdata/demo":      {1, "fairlead: Service demo/db has no address of its own: clients get those of its endpoints, or an alias, from DNS; name an address instead\n"},
		"services -f testdata/demo -o table":                           {2, "fairlead: --output table: there is no such form; use text, json or yaml\n" + seeHelp},
		"cleanup --kube-proxy --wait":                                  {2, "fairlead: --wait is for cleaning up after Fairlead; leave it or --kube-proxy out\n" + seeHelp},
		"agent --planes lb --pod-ips x":                                {2, "fairlead: --pod-ips: ParseAddr(\"x\"): unable to parse IP\n" + seeHelp},
		"agent --log-level loud":                                       {2, "fairlead: --log-level loud is none of debug, info, warn and error\n" + seeHelp},
		"agent --config /does/not/exist":                               {1, "fairlead: configuration: open /does/not/exist: no such file or directory\n"},
	} {
		code, out, err := run(t, strings.Fields(line)...)
		if code != want.code || err != want.text || out != "" {
			t.Errorf("%s: exit code %d, want %d\n got %q\nwant %q\n%s", line, code, want.code, err, want.text, out)
		}
	}
}

func TestNoCluster(t *testing.T) {
	t.Setenv("KUBECONFIG", filepath.Join(t.TempDir(), "none"))
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	for _, line := range []string{"services", "status", "explain service a/b"} {
		code, out, err := run(t, strings.Fields(line)...)
		if code != 1 || out != "" || !strings.HasPrefix(err, "fairlead: no way to the API server: ") || !strings.HasSuffix(err, "name a kubeconfig with --kubeconfig or $KUBECONFIG\n") {
			t.Errorf("%s: exit code %d: %s%s", line, code, err, out)
		}
	}
}

func TestHelpAndCompletion(t *testing.T) {
	for line, text := range map[string]string{
		"":                        "Available Commands:",
		"--help":                  "Available Commands:",
		"explain":                 "service ",
		"explain service --help":  "fairlead explain service demo/shop --node worker-1",
		"completion bash":         "__start_fairlead",
		"completion zsh":          "#compdef fairlead",
		"completion fish":         "fish completion for fairlead",
		"__complete services -o ": "text\njson\nyaml\n",
		"version":                 "fairlead ",
		"version -o json":         `"platform": "`,
	} {
		args := strings.Fields(line)
		if strings.HasSuffix(line, "-o ") {
			args = append(args, "")
		}
		if code, out, err := run(t, args...); code != 0 || !strings.Contains(out, text) {
			t.Errorf("%q: exit code %d, %q is missing:\n%s%.2000s", line, code, text, err, out)
		}
	}
}
