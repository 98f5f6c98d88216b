package conformance

import (
	"encoding/json"
	"fmt"
	"path"
	"regexp"
	"strings"
)

// State is what became of a spec.
type State string

// The states. Skipped means that the spec itself found that it can't run here.
const (
	Passed  State = "passed"
	Failed  State = "failed"
	Skipped State = "skipped"
)

// Result is what became of one spec.
type Result struct {
	Spec  string
	State State
	// Message says why, unless it passed; without what differs from run to run.
	Message string
}

// ginkgoReport is what is used of ginkgo's JSON report.
type ginkgoReport []struct {
	SpecReports []struct {
		ContainerHierarchyTexts []string
		LeafNodeType            string
		LeafNodeText            string
		State                   string
		Failure                 struct {
			Message        string
			ForwardedPanic string
			Location       struct {
				FileName   string
				LineNumber int
			}
		}
	}
}

// ReadReport finds in ginkgo's JSON report what became of specs, in their order. A spec that the report
// does not say was run has failed: the run ended before its turn.
func ReadReport(report []byte, specs []string) ([]Result, error) {
	var parsed ginkgoReport
	if err := json.Unmarshal(report, &parsed); err != nil {
		return nil, fmt.Errorf("read ginkgo's report: %w", err)
	}
	found := map[string]Result{}
	for _, suite := range parsed {
		for _, s := range suite.SpecReports {
			if s.LeafNodeType != "It" {
				continue
			}
			name := strings.Join(append(s.ContainerHierarchyTexts, s.LeafNodeText), " ")
			r := Result{Spec: name, State: Failed}
			switch s.State {
			case "passed":
				r.State = Passed
			case "skipped", "pending":
				if s.Failure.Message == "" {
					continue // ginkgo's word for specs that were out of focus or whose turn never came
				}
				r.State, r.Message = Skipped, clean(s.Failure.Message)
			default:
				where := fmt.Sprintf("%s:%d", path.Base(s.Failure.Location.FileName), s.Failure.Location.LineNumber)
				r.Message = fmt.Sprintf("%s: %s: %s", s.State, where, clean(s.Failure.Message+" "+s.Failure.ForwardedPanic))
			}
			found[name] = r
		}
	}
	out := make([]Result, len(specs))
	for i, spec := range specs {
		r, ok := found[spec]
		if !ok {
			r = Result{Spec: spec, State: Failed, Message: "was not run: the run ended before"}
		}
		out[i] = r
	}
	return out, nil
}

// noise is what differs between two runs that fail for the same reason, and what stands for it.
var noise = []struct {
	pattern *regexp.Regexp
	instead string
}{
	{regexp.MustCompile(`\x1b\[[0-9;]*m`), ""},
	{regexp.MustCompile(`(/[\w.@+-]+)+/`), ""}, // folders of this machine
	{regexp.MustCompile(`0x[0-9a-f]{4,}`), "POINTER"},
	{regexp.MustCompile(`\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f-]{22,}\b`), "UID"},
	{regexp.MustCompile(`\b\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT\b`), "TIME"},
	{regexp.MustCompile(`\b\d+(\.\d+)?(ms|µs)`), "DURATION"},
	{regexp.MustCompile(`\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d\S*`), "TIME"},
	{regexp.MustCompile(`\b\d{1,3}(\.\d{1,3}){3}\b`), "ADDRESS"},
	{regexp.MustCompile(`\[?\b[0-9a-f]{1,4}(:[0-9a-f]{0,4}){3,}\b\]?`), "ADDRESS"},
	{regexp.MustCompile(`(ADDRESS[:' ]+)\d{2,5}\b`), "${1}PORT"},
	{regexp.MustCompile(`\b3[0-2]\d{3}\b`), "PORT"},                                                          // NodePorts
	{regexp.MustCompile(`\b([Tt]ries:? )\d+`), "${1}N"},                                                      // as many as there was time for
	{regexp.MustCompile(`\b([a-z][a-z0-9-]*-)\d{1,5}\b`), "${1}N"},                                           // namespaces
	{regexp.MustCompile(`\b([a-z][a-z0-9-]*)-[bcdf-hj-np-tv-z2-9]{8,10}-[bcdf-hj-np-tv-z2-9]{5}\b`), "$1-X"}, // a Deployment's pods
	{regexp.MustCompile(`\b(execpod[a-z-]*?)-?[bcdfghjklmnpqrstvwxz2456789]{5}\b`), "${1}-X"},                // generated names
	{regexp.MustCompile(`\b([a-z][a-z0-9-]*-)[bcdfghjklmnpqrstvwxz2456789]{5}\b`), "${1}X"},
}

// longest is how much of a failure's message is kept: the log has it all.
const longest = 400

// clean is a message in one line without noise.
func clean(message string) string {
	for _, n := range noise {
		message = n.pattern.ReplaceAllString(message, n.instead)
	}
	message = strings.Join(strings.Fields(strings.ToValidUTF8(message, "")), " ")
	if runes := []rune(message); len(runes) > longest {
		message = string(runes[:longest]) + "…"
	}
	return message
}
