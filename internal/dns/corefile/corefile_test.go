package corefile

import (
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	fairlead "github.com/fairlead-net/fairlead/internal/config"
)

var update = flag.Bool("update", false, "rewrite what the Corefiles in testdata are expected to mean")

// around returns an archive's files for imports, and one variable.
func around(files []txtar.File) Surroundings {
	return Surroundings{
		Env: func(name string) (string, bool) { return "192.0.2.53", name == "UPSTREAM" },
		Files: func(pattern string) ([]Source, error) {
			var all []Source
			for _, f := range files {
				if ok, _ := path.Match(pattern, f.Name); ok {
					all = append(all, Source{f.Name, string(f.Data)})
				}
			}
			return all, nil
		},
	}
}

// describe writes down all that comes of a Corefile.
func describe(source Source, from Surroundings) string {
	var b strings.Builder
	file, problem := Parse(source, from)
	if problem != nil {
		return problem.Error() + "\n"
	}
	config, problems := Read(file)
	for _, s := range config.Servers {
		fmt.Fprintln(&b, "server", s.Keys)
		for _, d := range s.Directives {
			fmt.Fprintf(&b, "  %s => %s\n", d.Text, strings.Join(append([]string{d.Effect()}, d.Notes...), "; "))
		}
	}
	settings, err := json.Marshal(config.Settings())
	if err != nil {
		return err.Error()
	}
	fmt.Fprintf(&b, "settings %s\n", settings)
	if _, err := fairlead.Parse(settings); err != nil {
		fmt.Fprintf(&b, "fairlead.yaml would be refused: %v\n", err)
	}
	for _, p := range problems {
		fmt.Fprintf(&b, "%s [%s]\n", p.Error(), p.Kind)
	}
	return b.String()
}

// TestStories holds what each Corefile in testdata means, and what is said
// against it. In each archive, "want" describes "Corefile".
func TestStories(t *testing.T) {
	names, _ := filepath.Glob("testdata/*.txtar")
	if len(names) == 0 {
		t.Fatal("no stories")
	}
	for _, name := range names {
		t.Run(filepath.Base(name), func(t *testing.T) {
			archive, err := txtar.ParseFile(name)
			if err != nil {
				t.Fatal(err)
			}
			want := slices.IndexFunc(archive.Files, func(f txtar.File) bool { return f.Name == "want" })
			got := describe(Source{"Corefile", string(archive.Files[0].Data)}, around(archive.Files))
			if *update {
				archive.Files[want].Data = []byte(got)
				if err := os.WriteFile(name, txtar.Format(archive), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if string(archive.Files[want].Data) != got {
				t.Errorf("run with -update if this is meant; got:\n%s\nwant:\n%s", got, archive.Files[want].Data)
			}
		})
	}
}

// TestMistakes holds what a user reads. Each text is what stands in the block of
// ".", unless it holds braces of its own block.
func TestMistakes(t *testing.T) {
	for text, want := range map[string]string{
		"kubernets cluster.local":               `Corefile:2: CoreDNS has no directive "kubernets"; did you mean "kubernetes"?`,
		"kubernetes a.org {\npod insecure\n}":   `Corefile:3: kubernetes has no option "pod"; did you mean "pods"?`,
		"kubernetes a.org {\npods secure\n}":    `Corefile:3: kubernetes pods: "secure" is none of disabled, insecure, verified; did you mean "insecure"?`,
		"kubernetes a.org {\nttl 3601\n}":       `Corefile:3: kubernetes ttl: "3601" is not a number from 0 to 3600`,
		"kubernetes in-addr.arpa":               `Corefile:2: kubernetes names no zone but reverse ones; add the cluster's, as in "kubernetes cluster.local in-addr.arpa ip6.arpa"`,
		"k8s_external":                          `Corefile:2: k8s_external names no zone but the root or reverse ones; add one, as in "k8s_external example.org"`,
		"forward .":                             `Corefile:2: forward has the wrong number of arguments, 1; write "forward ZONE SERVER..."`,
		"forward . nowhere":                     `Corefile:2: forward: "nowhere" is neither an address nor a file; write ADDRESS, ADDRESS:PORT or a path such as /etc/resolv.conf`,
		"forward . grpc://192.0.2.1":            `Corefile:2: forward: "grpc://" is neither dns:// nor tls://; servers are asked by one of these`,
		"forward . 192.0.2.1 {\nexpire soon\n}": `Corefile:3: forward expire: "soon" is not a duration of at least 0s; write for example 5s`,
		"cache 0":                               `Corefile:2: cache: "0" is not a number from 1 to 2147483647`,
		"cache 30\ncache 60":                    `Corefile:3: cache is there twice, first at Corefile:2; CoreDNS takes it once for a server block, remove one`,
		"health 8080":                           `Corefile:2: health: "8080" is not ADDRESS:PORT; write for example :8080`,
		"health {\nlameduck 5s }":               `Corefile:3: "}" must stand on a line of its own`,
		"reload 1s":                             `Corefile:2: reload: "1s" is not a duration of at least 2s; write for example 5s`,
		"loop {\nx\n}":                          `Corefile:3: loop takes no options in braces; remove "x"`,
		"import nothing":                        `Corefile:2: import nothing: there is no snippet (nothing) above and no such file; define the snippet or correct the name`,
		"import":                                `Corefile:2: import names nothing; write "import SNIPPET" or "import FILE"`,
		"forward . {$NONE}":                     `Corefile:2: the environment variable NONE has no value here; write its value instead`,
		"errors\n{\n":                           `Corefile:1: "{" is never closed; write "}" on a line of its own`,
		"errors \"x":                            `Corefile:2: a quoted text does not end; close it with "`,
		"log \\ x":                              `Corefile:2: a backslash by itself continues a line, and has to be its last character`,
		"errors {\n} x":                         `Corefile:3: "x" follows "}"; begin a new line`,
		"health node-a:9":                       `Corefile:2: not supported: health node-a:9: health is answered at :8080/health; name an address instead of a host`,
		"file db.example":                       `Corefile:2: not supported: file: its arguments are not looked at; remove it`,
		"kubernetes a.org {\nlabels a in\n}":    `Corefile:3: kubernetes labels: "a in" is no label selector such as team=a,stage!=test: unable to parse requirement: found '' expected: '('`,
		"kubernetes a.org {\nnamespaces a\nnamespace_labels b\n}":  `Corefile:2: kubernetes has both namespaces and namespace_labels; keep one of them`,
		"kubernetes a.org {\nnoendpoints\nignore empty_service\n}": `Corefile:2: not supported: kubernetes a.org: no Service would have a name: without endpoints every one is empty; Fairlead takes one of the two`,
		"forward . 192.0.2.1 {\nnext NXDOMAIN\n}":                  `Corefile:3: not supported: next NXDOMAIN: the answer is returned as it is`,
		"forward . 192.0.2.1 {\nfailover NXDOMIAN\n}":              `Corefile:3: forward failover: "NXDOMIAN" is none of SERVFAIL, FORMERR, NXDOMAIN, NOTIMP, REFUSED; did you mean "NXDOMAIN"?`,
		"cache {\nserve_stale 1h verify soon\n}":                   `Corefile:3: cache serve_stale: "soon" is not a duration of at least 0s; write for example 5s`,
		"forward . 192.0.2.1 {\nhealth_check 1s domain a..b\n}":    `Corefile:3: forward health_check: "a..b" is not a zone; write a DNS name such as example.org, or a range of addresses such as 10.0.0.0/8`,
	} {
		t.Run(text, func(t *testing.T) {
			got := firstProblem(". {\n" + text + "\n}\n")
			if got != want {
				t.Errorf("\n got %s\nwant %s", got, want)
			}
		})
	}
	for text, want := range map[string]string{
		"":                                     `Corefile:1: there is no server block; write one, such as ". {", directives, and "}"`,
		"{\n}":                                 `Corefile:1: "{" needs a key before it, the zone that is served; write "." for all names`,
		"a, {\n}":                              `Corefile:1: another key has to follow the comma after "a"; write it or remove the comma`,
		"a\nerrors\n}":                         `Corefile:3: "}" closes nothing; remove it`,
		".:x {\n}":                             `Corefile:1: "x" in the key ".:x" is no port; write a number from 1 to 65535`,
		"dnss://. {\n}":                        `Corefile:1: "dnss" is no transport; did you mean "dns"?; use dns, tls, https, grpc or quic`,
		"(a) {\nimport a\n}\n. {\nimport a\n}": `Corefile:2: imports are more than 1000, or 16 deep; does a snippet or file import itself?`,
		"(a) {\n}\n(a) {\n}":                   `Corefile:3: the snippet (a) is defined twice; rename one`,
		"(a) {\nlog {args[1]}\n}\n. {\nimport a x\n}": `Corefile:2: {args[1]} has no value: the import gives 1 arguments`,
		". {\n}\n. {\n}": `Corefile:3: dns://.:53 is served already by the block at Corefile:1; join the two blocks`,
	} {
		if got := firstProblem(text); got != want {
			t.Errorf("%q:\n got %s\nwant %s", text, got, want)
		}
	}
}

func firstProblem(text string) string {
	file, problem := Parse(Source{"Corefile", text}, Surroundings{})
	if problem != nil {
		return problem.Error()
	}
	_, problems := Read(file)
	if len(problems) == 0 {
		return ""
	}
	return problems[0].Error()
}

// TestReverseZones holds the zones that ranges of addresses stand for.
func TestReverseZones(t *testing.T) {
	for text, want := range map[string]string{
		"10.0.0.0/8":    "10.in-addr.arpa.",
		"192.0.2.0/23":  "2.0.192.in-addr.arpa. 3.0.192.in-addr.arpa.",
		"0.0.0.0/0":     "in-addr.arpa.",
		"2001:db8::/32": "8.b.d.0.1.0.0.2.ip6.arpa.",
		"fd00::/7":      "c.f.ip6.arpa. d.f.ip6.arpa.",
		"Example.ORG":   "example.org.",
	} {
		zones, err := parseZone(text)
		if got := strings.Join(zones, " "); got != want || err != nil {
			t.Errorf("%s: %s, %v; want %s", text, got, err, want)
		}
	}
}

// TestTables: what is said to be missing has to be there to be missed.
func TestTables(t *testing.T) {
	for key := range lacking {
		name, _, _ := strings.Cut(key, " ")
		if _, ok := directives[name]; !ok && name != "server" {
			t.Errorf("lacking has %q, which is no directive", key)
		}
	}
	for _, name := range others {
		if _, ok := directives[name]; ok {
			t.Errorf("%s is read, and said not to be", name)
		}
	}
}

// same compares what statements say, whatever lines they stand on.
func same(a, b []Statement) bool {
	return slices.EqualFunc(a, b, func(a, b Statement) bool {
		return sameWords(a.Words, b.Words) && same(a.Body, b.Body)
	})
}

func sameWords(a, b []Word) bool {
	return slices.EqualFunc(a, b, func(a, b Word) bool { return cmp.Compare(a.Text, b.Text) == 0 })
}

func sameFiles(a, b File) bool {
	return slices.EqualFunc(a.Blocks, b.Blocks, func(a, b Block) bool {
		return sameWords(a.Keys, b.Keys) && same(a.Body, b.Body)
	})
}

// FuzzParse: no text makes the package panic, and what is parsed is printed so
// that parsing it gives the same.
func FuzzParse(f *testing.F) {
	names, _ := filepath.Glob("testdata/*.txtar")
	for _, name := range names {
		archive, err := txtar.ParseFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(archive.Files[0].Data))
	}
	f.Add("a, \"b c\" {\n \"{\" \\\n x\"y \"\\\\\" \"\" # c\n}\n")
	f.Add("(s) {\n x {args[0]}{args[1]} {$UPSTREAM}\n}\n. {\n import s \"a b\" \"\\\"\"\n}\n")
	files := []txtar.File{{Name: "f", Data: []byte("errors\nimport f*\n")}, {Name: "g", Data: []byte("log\n")}}
	f.Fuzz(func(t *testing.T, text string) {
		file, problem := Parse(Source{"Corefile", text}, around(files))
		if problem != nil {
			return
		}
		printed := file.String()
		again, problem := Parse(Source{"printed", printed}, Surroundings{})
		if problem != nil || !sameFiles(file, again) || again.String() != printed {
			t.Fatalf("%q is printed as\n%s\nwhich is parsed as %+v, %v", text, printed, again, problem)
		}
		config, _ := Read(file)
		for _, s := range config.Servers {
			for _, d := range s.Directives {
				_ = d.Effect()
			}
		}
		_ = config.Settings()
	})
}
