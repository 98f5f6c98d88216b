// Package internal holds no code; its test keeps the architecture of
// docs/architecture.md: who may import whom, and how large things may grow.
package internal

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const (
	module       = "github.com/fairlead-net/fairlead/"
	maxFile      = 400 // lines
	maxFunction  = 60  // lines
	maxInterface = 3   // methods
	maxDepth     = 4   // folders above a file, from the module's root
	maxPackages  = 46
)

// source is one Go file.
type source struct {
	path, dir string
	lines     int
	test      bool
	generated bool
	files     *token.FileSet
	ast       *ast.File
}

func sources(t *testing.T, root string) []source {
	t.Helper()
	var all []source
	err := filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() && (strings.HasPrefix(entry.Name(), ".") && name != root || entry.Name() == "testdata") {
			if err == nil {
				err = filepath.SkipDir
			}
			return err
		}
		if entry.IsDir() || filepath.Ext(name) != ".go" {
			return nil
		}
		content, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		files := token.NewFileSet()
		parsed, err := parser.ParseFile(files, name, content, parser.ParseComments)
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(root, name)
		all = append(all, source{
			path: filepath.ToSlash(relative), dir: path.Dir(filepath.ToSlash(relative)),
			lines: strings.Count(string(content), "\n"), test: strings.HasSuffix(name, "_test.go"),
			generated: ast.IsGenerated(parsed), files: files, ast: parsed,
		})
		return err
	})
	if err != nil || len(all) == 0 {
		t.Fatalf("no sources below %s: %v", root, err)
	}
	return all
}

func repository(t *testing.T) []source { return sources(t, "..") }

// TestBudget keeps files, functions, interfaces and folders small enough to
// read. A file that grows too large holds two concepts: split it by concept.
func TestBudget(t *testing.T) {
	for _, s := range repository(t) {
		if s.generated {
			continue
		}
		if s.lines > maxFile {
			t.Errorf("%s has %d lines, at most %d: split it by concept", s.path, s.lines, maxFile)
		}
		if depth := strings.Count(s.path, "/"); depth > maxDepth {
			t.Errorf("%s lies %d folders deep, at most %d", s.path, depth, maxDepth)
		}
		ast.Inspect(s.ast, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				if lines := s.files.Position(n.End()).Line - s.files.Position(n.Pos()).Line + 1; lines > maxFunction {
					t.Errorf("%s: %s has %d lines, at most %d", s.path, n.Name.Name, lines, maxFunction)
				}
				if n.Name.Name == "init" && n.Recv == nil {
					t.Errorf("%s: init() hides what happens when; call it from where it is needed", s.path)
				}
			case *ast.InterfaceType:
				if n.Methods.NumFields() > maxInterface {
					t.Errorf("%s: an interface has %d methods, at most %d", s.path, n.Methods.NumFields(), maxInterface)
				}
			}
			return true
		})
	}
}

// TestNoMutableGlobals allows package variables only where nothing can assign
// to them: errors, values of embed, and those this test sees no assignment to.
func TestNoMutableGlobals(t *testing.T) {
	packages := map[string][]source{}
	for _, s := range repository(t) {
		if !s.generated {
			packages[s.dir] = append(packages[s.dir], s)
		}
	}
	for dir, files := range packages {
		globals := map[string]bool{}
		for _, s := range files {
			for _, decl := range s.ast.Decls {
				if general, ok := decl.(*ast.GenDecl); ok && general.Tok == token.VAR {
					for _, spec := range general.Specs {
						for _, name := range spec.(*ast.ValueSpec).Names {
							globals[name.Name] = name.Name != "_"
						}
					}
				}
			}
		}
		for _, s := range files {
			for _, name := range assigned(s.ast, globals) {
				t.Errorf("%s: package variable %s of %s is assigned to; pass it as a value instead", s.path, name, dir)
			}
		}
	}
}

// assigned returns the globals that a file assigns to, or to a part of, where
// no local variable of that name is in sight.
func assigned(file *ast.File, globals map[string]bool) []string {
	var found []string
	for _, decl := range file.Decls {
		function, ok := decl.(*ast.FuncDecl)
		if !ok {
			continue
		}
		local := locals(function)
		ast.Inspect(function, func(n ast.Node) bool {
			var targets []ast.Expr
			switch n := n.(type) {
			case *ast.AssignStmt:
				if n.Tok != token.DEFINE {
					targets = n.Lhs
				}
			case *ast.IncDecStmt:
				targets = []ast.Expr{n.X}
			}
			for _, target := range targets {
				if name := base(target); globals[name] && !local[name] {
					found = append(found, name)
				}
			}
			return true
		})
	}
	return found
}

func base(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.IndexExpr:
		return base(e.X)
	case *ast.SelectorExpr:
		return base(e.X)
	case *ast.StarExpr:
		return base(e.X)
	}
	return ""
}

func locals(function *ast.FuncDecl) map[string]bool {
	names := map[string]bool{}
	ast.Inspect(function, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.Field:
			for _, name := range n.Names {
				names[name.Name] = true
			}
		case *ast.AssignStmt:
			if n.Tok == token.DEFINE {
				for _, e := range n.Lhs {
					names[base(e)] = true
				}
			}
		case *ast.ValueSpec:
			for _, name := range n.Names {
				names[name.Name] = true
			}
		case *ast.RangeStmt:
			if n.Tok == token.DEFINE {
				for _, e := range []ast.Expr{n.Key, n.Value} {
					if e != nil {
						names[base(e)] = true
					}
				}
			}
		}
		return true
	})
	return names
}

// TestPackageDocs demands that every package says what goes in, what comes out
// and what it never does.
func TestPackageDocs(t *testing.T) {
	docs := map[string]string{}
	for _, s := range repository(t) {
		if s.test || s.ast.Name.Name == "main" {
			continue
		}
		docs[s.dir] += s.ast.Doc.Text()
	}
	for dir, doc := range docs {
		if len(strings.Fields(doc)) < 20 {
			t.Errorf("package %s: the doc comment is missing or says too little: what goes in, what comes out, what does it never do?", dir)
		}
	}
	internal := 0
	for dir := range docs {
		if strings.HasPrefix(dir, "internal/") {
			internal++
		}
	}
	if internal > maxPackages {
		t.Errorf("%d packages, at most %d", internal, maxPackages)
	}
}

// TestImports keeps the one direction: desired, then features, then the
// sub-folders of features, then agent, then the command line.
func TestImports(t *testing.T) {
	for _, s := range repository(t) {
		if s.test || !strings.HasPrefix(s.dir, "internal") {
			continue
		}
		for _, spec := range s.ast.Imports {
			imported := strings.Trim(spec.Path.Value, `"`)
			if problem := forbidden(s.dir, imported); problem != "" {
				t.Errorf("%s imports %s: %s", s.path, imported, problem)
			}
		}
	}
}

// features are the pure folders; their sub-folders touch the world.
var features = []string{"lb", "dns", "ipam", "announce", "l7", "mesh"}

// pure are the folders that do nothing but compute.
var pure = append([]string{"pmap", "desired", "compile", "config", "dns/corefile", "dns/rules", "l7/nginx", "l7/http1", "l7/http2", "l7/filter", "l7/htpasswd", "l7/migrate", "l7/accesslog", "l7/tracing", "l7/waf"}, features...)

// worldly are the standard packages that no pure folder imports.
var worldly = []string{"os", "os/exec", "net", "net/http", "log", "log/slog", "syscall", "math/rand", "math/rand/v2"}

func forbidden(dir, imported string) string {
	dir = strings.TrimPrefix(dir, "internal/")
	feature, _, nested := strings.Cut(dir, "/")
	own := strings.TrimPrefix(imported, module+"internal/")
	isOwn := own != imported
	ownFeature, _, ownNested := strings.Cut(own, "/")
	switch {
	case (strings.HasPrefix(imported, "k8s.io/client-go") || strings.HasPrefix(imported, "sigs.k8s.io/controller-runtime")) && dir != "kube":
		return "only kube talks to the API server"
	case slices.Contains(pure, dir) && slices.Contains(worldly, imported) && !(dir == "config" && imported == "log/slog"):
		return "this folder is pure; a sub-folder may touch the world"
	case !isOwn:
		return ""
	case dir == "pmap":
		return "pmap stands at the bottom"
	case dir == "desired" && own != "pmap":
		return "desired imports no other part of Fairlead but pmap"
	case slices.Contains(features, feature) && slices.Contains(features, ownFeature) && feature != ownFeature:
		return "features never import each other"
	case slices.Contains(features, dir) && !nested && ownNested && !slices.Contains(pure, own):
		return "a feature does not know the planes that realise it"
	case slices.Contains(features, feature) && slices.Contains([]string{"kube", "agent", "cli", "install", "compile"}, own):
		return "features know neither the API server nor what wires them"
	case own == "cli":
		return "nothing imports the command line but main"
	case own == "agent" && dir != "cli":
		return "only the command line imports agent"
	case dir == "kube" && own != "desired" && own != "pmap":
		return "kube gives objects and knows nothing of what becomes of them"
	}
	return ""
}

// TestForbidden checks the checker: each of these must be refused.
func TestForbidden(t *testing.T) {
	for _, pair := range [][2]string{
		{"internal/lb", "k8s.io/client-go/kubernetes"}, {"internal/lb", "os"}, {"internal/dns", "net"},
		{"internal/desired", module + "internal/lb"}, {"internal/lb", module + "internal/dns"},
		{"internal/dns/server", module + "internal/lb/ebpf"}, {"internal/lb", module + "internal/lb/ebpf"},
		{"internal/dns/server", module + "internal/kube"}, {"internal/agent", module + "internal/cli"},
		{"internal/l7", module + "internal/l7/proxy"}, {"internal/kube", module + "internal/lb"}, {"internal/pmap", module + "internal/desired"},
	} {
		if forbidden(pair[0], pair[1]) == "" {
			t.Errorf("%s may import %s", pair[0], pair[1])
		}
	}
	for _, pair := range [][2]string{
		{"internal/lb/ebpf", module + "internal/lb"}, {"internal/agent", module + "internal/lb/ebpf"},
		{"internal/cli", module + "internal/agent"}, {"internal/dns", module + "internal/desired"},
	} {
		if problem := forbidden(pair[0], pair[1]); problem != "" {
			t.Error(fmt.Sprint(pair, problem))
		}
	}
}
