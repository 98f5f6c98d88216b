package conformance

import (
	"bytes"
	"encoding/xml"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "copy the list of exclusions into docs/conformance/README.md")

// report is ginkgo's JSON, shortened to a spec of each kind.
const report = `[{"SpecReports":[
 {"LeafNodeType":"SynchronizedBeforeSuite","State":"passed"},
 {"ContainerHierarchyTexts":["[sig-network] Services"],"LeafNodeType":"It","LeafNodeText":"should pass","State":"passed"},
 {"ContainerHierarchyTexts":["[sig-network] Services"],"LeafNodeType":"It","LeafNodeText":"is out of focus","State":"skipped"},
 {"ContainerHierarchyTexts":["[sig-network] Services"],"LeafNodeType":"It","LeafNodeText":"needs nodes","State":"skipped",
  "Failure":{"Message":"Need at least 3 schedulable nodes"}},
 {"ContainerHierarchyTexts":["[sig-network] Services","deep"],"LeafNodeType":"It","LeafNodeText":"should fail","State":"failed",
  "Failure":{"Message":"\u001b[1mnot reachable\n at 172.30.0.11:31234 from\nexecpod-affinitybc4x7 in services-4711",
   "Location":{"FileName":"/home/x/go/pkg/mod/k8s.io/kubernetes@v1.37.2/test/e2e/network/service.go","LineNumber":12}}},
 {"ContainerHierarchyTexts":["[sig-network] Services"],"LeafNodeType":"It","LeafNodeText":"should panic","State":"panicked",
  "Failure":{"Message":"Test Panicked","ForwardedPanic":"nil map","Location":{"FileName":"a/b.go","LineNumber":3}}}
]}]`

func TestReadReport(t *testing.T) {
	specs := []string{
		"[sig-network] Services should panic", "[sig-network] Services should pass", "[sig-network] Services needs nodes",
		"[sig-network] Services deep should fail", "[sig-network] Services is out of focus", "[sig-network] Services is unheard of",
	}
	got, err := ReadReport([]byte(report), specs)
	if err != nil {
		t.Fatal(err)
	}
	const late = "was not run: the run ended before"
	want := []Result{
		{specs[0], Failed, "panicked: b.go:3: Test Panicked nil map"},
		{specs[1], Passed, ""},
		{specs[2], Skipped, "Need at least 3 schedulable nodes"},
		{specs[3], Failed, "failed: service.go:12: not reachable at ADDRESS:PORT from execpod-affinity-X in services-N"},
		{specs[4], Failed, late},
		{specs[5], Failed, late},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if _, err := ReadReport([]byte(`[{"Spec`), specs); err == nil {
		t.Error("half a report is no error")
	}
}

func TestCleanKeepsOneShortLine(t *testing.T) {
	for message, want := range map[string]string{
		"dial tcp [fd00:30::11]:30123: i/o timeout":            "dial tcp ADDRESS:PORT: i/o timeout",
		"Tries 34 Command curl -g -q":                          "Tries N Command curl -g -q",
		"error running /home/me/.lab/bin/kubectl --v=1":        "error running kubectl --v=1",
		"at 2026-11-24T00:29:16.518Z 0xc000123456":             "at TIME POINTER",
		"pod 1b4e28ba-2fa1-11d2-883f-0016d3cca427 is there":    "pod UID is there",
		"Date: Tue, 24 Nov 2026 00:44:18 GMT took 16.277928ms": "Date: TIME took DURATION",
		"pod web-779bf9796d-mdbd6 on services-12":              "pod web-X on services-N",
		"within 2m0s timeout of 7 tries":                       "within 2m0s timeout of 7 tries",
	} {
		if got := clean(message); got != want {
			t.Errorf("clean(%q) = %q, want %q", message, got, want)
		}
	}
	if got := []rune(clean(strings.Repeat("ä", 2*longest))); len(got) != longest+1 {
		t.Errorf("a long message keeps %d characters", len(got))
	}
}

func TestJUnitCountsAndSorts(t *testing.T) {
	text, err := JUnit(Run{
		Plane: "nftables", Kubernetes: "v1.2.3", Nodes: 2,
		Results:  []Result{{"z passes", Passed, ""}, {"b fails", Failed, `it says "<no>"`}, {"c skips", Skipped, "one node"}},
		Excluded: []Excluded{{"a is out", "no cloud"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	var got junitSuites
	if err := xml.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	s := got.Suite
	if s.Tests != 4 || s.Failures != 1 || s.Skipped != 2 {
		t.Errorf("%d tests, %d failures, %d skipped", s.Tests, s.Failures, s.Skipped)
	}
	want := []junitCase{
		{"sig-network", "a is out", nil, &junitMessage{"excluded: no cloud"}},
		{"sig-network", "b fails", &junitMessage{`it says "<no>"`}, nil},
		{"sig-network", "c skips", nil, &junitMessage{"by itself: one node"}},
		{"sig-network", "z passes", nil, nil},
	}
	if diff := cmp.Diff(want, s.Cases); diff != "" {
		t.Error(diff)
	}
}

func TestSummaryNamesFailures(t *testing.T) {
	var out bytes.Buffer
	Summary(&out, Run{
		Plane:   "ebpf",
		Results: []Result{{"p", Passed, ""}, {"f", Failed, "because"}, {"s", Skipped, "few nodes"}},
		Excluded: []Excluded{
			{"x", "no cloud"}, {"y", "no cloud"},
		},
	})
	for _, want := range []string{
		"    2  no cloud\n", "Failed (1):\n  f\n      because\n", "Skipped by themselves (1):\n  s\n      few nodes\n",
		"3 specs on the plane ebpf: 1 passed, 1 failed, 1 skipped by themselves; 2 excluded\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing in:\n%s", want, out.String())
		}
	}
}

func TestCounterFollowsGinkgo(t *testing.T) {
	var out bytes.Buffer
	c := &counter{out: &out, total: 4, started: time.Now()}
	for _, chunk := range []string{
		"------------------------------\n• [4.1", "39 seconds]\n[sig-network] A passes\n",
		"S [SKIPPED] [0.2 seconds]\n[sig-network] B skips\n• [FAILED] [94.404 seconds]\n",
		"[sig-network] C fails\n  STEP: • [not an outcome]\n", "SSS• [1.0 seconds]\n",
	} {
		if n, err := c.Write([]byte(chunk)); err != nil || n != len(chunk) {
			t.Fatal(n, err)
		}
	}
	if c.done != 4 || c.failed != 1 {
		t.Errorf("%d done, %d failed", c.done, c.failed)
	}
	for _, want := range []string{"failed: [sig-network] C fails\n", "4 of 4 specs done, 1 failed"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing in:\n%s", want, out.String())
		}
	}
}

// TestReadmeShowsTheExclusions keeps the published list what the suite goes by.
func TestReadmeShowsTheExclusions(t *testing.T) {
	list, err := Exclusions()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join("..", "..", "docs", "conformance", "README.md")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	const begin, end = "<!-- exclusions -->\n", "<!-- end of exclusions -->"
	before, rest, found := strings.Cut(string(text), begin)
	shown, after, ended := strings.Cut(rest, end)
	if !found || !ended {
		t.Fatalf("%s has no marks %q and %q", path, begin, end)
	}
	if *update {
		if err := os.WriteFile(path, []byte(before+begin+Markdown(list)+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(Markdown(list), shown); diff != "" {
		t.Errorf("run go test ./conformance -update\n%s", diff)
	}
}
