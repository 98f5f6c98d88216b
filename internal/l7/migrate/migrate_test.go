package migrate

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/kube"
	"github.com/fairlead-net/fairlead/internal/l7"
	"github.com/fairlead-net/fairlead/internal/l7/nginx"
	"github.com/fairlead-net/fairlead/internal/testkit"
)

// input compiles manifests as the command does.
func input(t *testing.T, manifests string) Input {
	t.Helper()
	m, err := kube.ParseManifests([]byte(manifests))
	if err != nil {
		t.Fatal(err)
	}
	m.Objects.IngressClasses = m.Objects.IngressClasses.Set("nginx", &desired.IngressClass{Name: "nginx", Controller: l7.ControllerNginx})
	in := Input{Config: l7.Config{IngressNginx: true}, ConfigMaps: map[desired.Name]map[string]string{}}
	for name, d := range m.Data.All() {
		if name.ConfigMap {
			in.ConfigMaps[name.Name] = map[string]string{}
			for key, value := range d.Keys {
				in.ConfigMaps[name.Name][key] = string(value)
			}
		}
	}
	for _, c := range m.Containers {
		if IsController(c.Image, c.Args) {
			in.Controllers = append(in.Controllers, Controller{Owner: c.Owner, Args: c.Args})
		}
	}
	in.State, _ = desired.Build(m.Objects, desired.Node{}, nil)
	in.Table, in.Reasons = l7.Compile(in.State, l7.Table{}, in.Config)
	return in
}

// written returns the objects of Gateway API as the command prints them.
func written(t *testing.T, in Input) string {
	t.Helper()
	var out bytes.Buffer
	if err := Write(&out, in.Gateways(Target{GatewayClass: "fairlead", Namespace: "gateways"})); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// TestStories holds the report on the manifests of each story, and the objects of
// Gateway API, which the API server has to take.
func TestStories(t *testing.T) { testkit.Stories(t, tell) }

func tell(t *testing.T, story *txtar.Archive) []txtar.File {
	manifests := testkit.Parts(story.Files)["manifests.yaml"]
	in := input(t, manifests)
	report := Build(in)
	report.Always, report.Next = nil, nil
	data, err := json.MarshalIndent(report, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	gateway := written(t, in)
	accepted(t, gateway)
	return []txtar.File{testkit.File("manifests.yaml", manifests), testkit.File("report.json", string(data)+"\n"), testkit.File("gateway.yaml", gateway)}
}

// TestVerdicts holds that every code of a Reason has a verdict, and no other.
func TestVerdicts(t *testing.T) {
	found := map[string]bool{}
	for _, pattern := range []string{"../*.go", "../../desired/ingress.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatal(pattern, err)
		}
		for _, file := range files {
			if !strings.HasSuffix(file, "_test.go") {
				codes(t, file, found)
			}
		}
	}
	if len(found) < 20 {
		t.Fatalf("only %d codes: %v", len(found), found)
	}
	for code := range found {
		if _, ok := verdicts()[code]; !ok {
			t.Errorf("code %s has no verdict", code)
		}
	}
	for code := range verdicts() {
		if !found[code] {
			t.Errorf("there is no code %s", code)
		}
	}
}

// codes collects the first arguments of what makes Reasons.
func codes(t *testing.T, file string, into map[string]bool) {
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	add := func(e ast.Expr) {
		if text, ok := e.(*ast.BasicLit); ok && text.Kind == token.STRING {
			into[strings.Trim(text.Value, `"`)] = true
		}
	}
	ast.Inspect(parsed, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CallExpr:
			name := ""
			switch f := n.Fun.(type) {
			case *ast.Ident:
				name = f.Name
			case *ast.SelectorExpr:
				name = f.Sel.Name
				if x, ok := f.X.(*ast.Ident); name == "add" && (!ok || x.Name != "r") {
					name = ""
				}
			}
			if len(n.Args) > 1 && (name == "reason" || name == "wrong" || name == "add") {
				add(n.Args[0])
			}
		case *ast.KeyValueExpr:
			if key, ok := n.Key.(*ast.Ident); ok && key.Name == "Code" {
				add(n.Value)
			}
		}
		return true
	})
}

// TestAnnotations holds that the report on an annotation is what serving does: refused
// is what closes, and nothing else.
func TestAnnotations(t *testing.T) {
	for _, a := range nginx.Annotations() {
		for _, value := range []string{"true", "1", "x", "\x00", "/a", "https://a.example/b"} {
			in := input(t, ingress(a.Name, value, "/"))
			name := desired.Name{Namespace: "default", Name: "i"}
			i, _ := in.State.Ingresses.Get(name)
			o, _ := nginx.Read(i.Annotations)
			report := Build(in)
			if o.Canary != nil {
				continue // it has no rules of its own
			}
			f := report.Ingresses[0].Annotations[0]
			if is := report.Ingresses[0].Verdict; (is == Refused) != closed(in, name) || o.Closed && is != Refused {
				t.Errorf("%s=%q is %s (%s), but closed is %t", a.Name, value, is, f.Text, o.Closed)
			}
			if f.Verdict != Same && f.Text == "" {
				t.Errorf("%s=%q is %s, without why", a.Name, value, f.Verdict)
			}
			if a.Standing == nginx.LeftOut && f.Verdict == Same {
				t.Errorf("%s=%q is left out, but reported as the same", a.Name, value)
			}
		}
	}
}

// closed tells whether every path of an Ingress answers 503.
func closed(in Input, name desired.Name) bool {
	for _, rules := range in.Table.Listeners[l7.ListenerHTTPS].Routes.List() {
		for _, r := range rules {
			if r.Route.Source.Name == name.Name && (len(r.Route.Backends) > 0 || r.Route.Redirect != nil && r.Route.Redirect.Path != "/x/") {
				return false
			}
		}
	}
	return true
}

// ingress has one annotation and one path.
func ingress(name, value, path string) string {
	text := func(s string) string { b, _ := json.Marshal(s); return string(b) }
	return fmt.Sprintf(`{"apiVersion":"networking.k8s.io/v1","kind":"Ingress","metadata":{"name":"i","annotations":{%s:%s}},"spec":{"ingressClassName":"nginx","tls":[{"hosts":["a.example"],"secretName":"s"}],"rules":[{"host":"a.example","http":{"paths":[
		{"path":%s,"pathType":"ImplementationSpecific","backend":{"service":{"name":"web","port":{"number":80}}}},
		{"path":"/x/","pathType":"Exact","backend":{"service":{"name":"web","port":{"name":"http"}}}}]}}]}}`, text(nginx.Prefix+name), text(value), text(path))
}

// FuzzGateways: whatever an annotation and a path are, the API server takes the
// objects, and no text gets out of a comment.
func FuzzGateways(f *testing.F) {
	f.Add("rewrite-target", "/$2", "/a(/|$)(.*)")
	f.Add("rewrite-target", "/b", "/a")
	f.Add("use-regex", "true", `/a\.b|/c$`)
	f.Add("permanent-redirect", "https://b.example:8443/x$request_uri", "/")
	f.Add("temporal-redirect", "/x?y#z", "/")
	f.Add("cors-allow-origin", "https://*.b.example", "/")
	f.Add("configuration-snippet", "add_header A b; proxy_set_header C $host;", "/")
	f.Add("auth-url", "https://auth/\u2028x", "/%2f ü")
	f.Add("upstream-vhost", "b_c.example:80", "/a//b")
	f.Fuzz(func(t *testing.T, name, value, path string) {
		text := ingress(name, value, path)
		if _, err := kube.ParseManifests([]byte(text)); err != nil {
			return
		}
		in := input(t, text)
		Build(in)
		if all := written(t, in); all != "" {
			accepted(t, all)
		}
	})
}
