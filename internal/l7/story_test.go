package l7

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/kube"
	"github.com/fairlead-net/fairlead/internal/l7/nginx"
	"github.com/fairlead-net/fairlead/internal/testkit"
)

// TestStories compiles the manifests of each story and compares what becomes of
// every request in its file "requests", and its file "reasons". A request is a line
// "? METHOD URL", with lines "+ NAME: VALUE" for headers; "??" also shows the rules that lost.
// A line "! SETTING..." changes the configuration for all that follows.
func TestStories(t *testing.T) { testkit.Stories(t, tell) }

func tell(t *testing.T, story *txtar.Archive) []txtar.File {
	parts := testkit.Parts(story.Files)
	m, err := kube.ParseManifests([]byte(parts["manifests.yaml"]))
	if err != nil {
		t.Fatal(err)
	}
	state, _ := desired.Build(m.Objects, desired.Node{}, nil)
	requests, reasons := ask(t, state, parts["requests"])
	return []txtar.File{testkit.File("manifests.yaml", parts["manifests.yaml"]), testkit.File("requests", requests), testkit.File("reasons", reasons)}
}

// ask returns the text with every answer as it is now, and all reasons.
func ask(t *testing.T, state *desired.State, text string) (answers, reasons string) {
	var config Config
	var all []desired.Reason
	var table Table
	var out, said strings.Builder
	table, all = Compile(state, Table{}, config)
	lines := strings.Split(text, "\n")
	for n := 0; n < len(lines); n++ {
		line := lines[n]
		mark, rest, _ := strings.Cut(line, " ")
		switch mark {
		case "!":
			set(t, strings.Fields(rest), &config)
			table, all = Compile(state, Table{}, config)
			out.WriteString(line + "\n")
		case "?", "??":
			out.WriteString(line + "\n")
			listener, q := request(t, rest)
			for ; n+1 < len(lines) && strings.HasPrefix(lines[n+1], "+ "); n++ {
				out.WriteString(lines[n+1] + "\n")
				name, value, _ := strings.Cut(lines[n+1][2:], ": ")
				q.Header = append(q.Header, Field{strings.ToLower(name), value})
			}
			out.WriteString(render(table, listener, q, mark == "??"))
		}
	}
	for _, r := range all {
		fmt.Fprintf(&said, "%s: %s: %s\n", r.Object, r.Code, r.Message)
	}
	return out.String(), said.String()
}

func set(t *testing.T, words []string, config *Config) {
	switch words[0] {
	case "ingressNginx":
		config.IngressNginx = true
	case "modSecurity":
		config.ModSecurity = true
	case "ownHosts":
		config.OwnHosts = true
	case "parametersAsSent":
		config.ParametersAsSent = true
	case "configMap": // KEY=VALUE...
		data := map[string]string{}
		for _, word := range words[1:] {
			key, value, _ := strings.Cut(word, "=")
			data[key] = value
		}
		var problems []nginx.Problem
		if config.Nginx, problems = nginx.ReadSettings(data); len(problems) > 0 {
			t.Fatal(problems)
		}
	case "passthrough":
		config.Passthrough = true
	case "noExternalNames":
		config.NoExternalNames = true
	case "defaultCertificate":
		namespace, name, _ := strings.Cut(words[1], "/")
		config.DefaultCertificate = CertificateID{Namespace: namespace, Name: name}
	case "defaultBackend":
		service, port, _ := strings.Cut(words[1], ":")
		namespace, name, _ := strings.Cut(service, "/")
		config.DefaultBackend = BackendID{Service: desired.Name{Namespace: namespace, Name: name}, Port: port}
	default:
		t.Fatalf("unknown setting %q", words)
	}
}

// request reads METHOD URL as an engine would.
func request(t *testing.T, text string) (listener string, q Request) {
	t.Helper()
	method, address, _ := strings.Cut(text, " ")
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	_, target, _ := strings.Cut(address, "://")
	_, target, _ = strings.Cut(target, "/")
	target, query, _ := strings.Cut("/"+target, "?")
	match, _, err := Normalize(target)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return u.Scheme, Request{Method: method, Host: strings.ToLower(u.Hostname()), Path: match, Query: query}
}

func render(table Table, listener string, q Request, all bool) string {
	e, route := table.Explain(listener, q)
	passed := listener == ListenerHTTPS && table.Listeners[listener].Stream(q.Host) != nil
	if matched := table.Listeners[listener].Routes.Match(&q); !passed && matched != route {
		return "  Match and Explain differ\n"
	}
	var out strings.Builder
	fmt.Fprintf(&out, "  %s\n", e.Answer)
	for _, c := range e.Rules {
		if c.Wins {
			fmt.Fprintf(&out, "  by %s %s: %s %s\n", c.Source, c.Rule, c.Type, c.Path)
		}
	}
	for _, b := range e.Backends {
		fmt.Fprintf(&out, "  to %s %g%%", b.Backend, b.Share)
		for _, text := range append(b.Endpoints, b.Note, b.Balance) {
			if text != "" {
				out.WriteString(" " + text)
			}
		}
		out.WriteString("\n")
	}
	if e.Certificate != "" {
		fmt.Fprintf(&out, "  certificate %s\n", e.Certificate)
	}
	if route != nil {
		out.WriteString(details(route, q))
	}
	for _, u := range e.Unserved {
		fmt.Fprintf(&out, "  not served: %s: %s\n", u.Source, u.Why)
	}
	if !all {
		return out.String()
	}
	fmt.Fprintf(&out, "  host %s: %s\n", e.Host, e.Why)
	for _, c := range e.Rules {
		fmt.Fprintf(&out, "  # %s %s %s %s: %s\n", c.Source, c.Rule, c.Type, c.Path, c.Why)
	}
	return out.String()
}

// details shows what of a Route Explain has no words for.
func details(r *Route, q Request) string {
	var out strings.Builder
	if r.HTTPSRedirect != nil {
		fmt.Fprintf(&out, "  without TLS %s\n", r.HTTPSRedirect)
	}
	if r.Access != nil {
		fmt.Fprintf(&out, "  allow %v deny %v\n", r.Access.Allow, r.Access.Deny)
	}
	if r.Errors != nil {
		fmt.Fprintf(&out, "  %s answers in place of %v, and if no endpoint is ready: %t\n", r.Errors.Backend, r.Errors.Statuses, r.Errors.Absent)
	}
	for _, line := range r.Filters.Says() {
		fmt.Fprintf(&out, "  %s\n", line)
	}
	if r.MaxBody < 0 {
		out.WriteString("  body of any size\n")
	} else if r.MaxBody != 0 {
		fmt.Fprintf(&out, "  body up to %d\n", r.MaxBody)
	}
	if w := r.Rewrite; w != nil {
		if w.Path != nil {
			path, err := w.Path.Apply(q.Path)
			if err != nil {
				path = err.Error()
			}
			fmt.Fprintf(&out, "  sends path %s\n", Encode(path))
		}
		if w.Host != "" || w.Prefix != "" {
			fmt.Fprintf(&out, "  sends host %q prefix %q\n", w.Host, w.Prefix)
		}
	}
	if r.Upstream.TLS != (UpstreamTLS{}) {
		fmt.Fprintf(&out, "  demands %+v\n", r.Upstream.TLS)
	}
	if r.Upstream != (Upstream{}) {
		fmt.Fprintf(&out, "  speaks %s, connect %s, send %s, read %s\n", r.Upstream.Protocol, r.Upstream.Connect, r.Upstream.Send, r.Upstream.Read)
	}
	return out.String()
}
