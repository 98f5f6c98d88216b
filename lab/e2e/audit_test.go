//go:build e2e

package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/fairlead-net/fairlead/lab/config"
)

// audit reads what Fairlead's processes ask the API server for, in the API server's
// own log of that.
type audit struct {
	path string
	read int64
}

// newAudit starts at the end of the log.
func newAudit(t *testing.T) *audit {
	t.Helper()
	a := &audit{path: filepath.Join(lab(t).Logs("control-plane"), config.AuditLog)}
	info, err := os.Stat(a.path)
	if err != nil {
		t.Fatalf("the API server writes no log of requests: %v", err)
	}
	a.read = info.Size()
	return a
}

// requests counts requests by what they were.
type requests struct {
	// lease are those by which one of the controllers holds the Lease and the others
	// see it held; watches are those that begin a watch, the one before having ended by its
	// own limit of five to ten minutes.
	lease, watches int
	others         map[string]int
}

func (r requests) String() string {
	var all []string
	for _, what := range slices.Sorted(maps.Keys(r.others)) {
		all = append(all, fmt.Sprintf("%d %s", r.others[what], what))
	}
	return strings.Join(all, ", ")
}

// since returns the requests since the last call.
func (a *audit) since(t *testing.T) requests {
	t.Helper()
	file, err := os.Open(a.path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		t.Fatal(err)
	}
	if info.Size() < a.read {
		t.Fatalf("%s was begun anew: its limit of size is too small for this test", a.path)
	}
	if _, err := file.Seek(a.read, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	found := requests{others: map[string]int{}}
	lines := bufio.NewReader(file)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return found // what has no end yet is read the next time
		}
		a.read += int64(len(line))
		found.count(t, line)
	}
}

func (r *requests) count(t *testing.T, line []byte) {
	t.Helper()
	var event struct {
		Verb, RequestURI string
		User             struct{ Username string }
		ObjectRef        struct{ Resource, Subresource string }
	}
	if err := json.Unmarshal(bytes.TrimSpace(line), &event); err != nil {
		t.Fatalf("%v in %s", err, line)
	}
	switch {
	case event.ObjectRef.Resource == "leases":
		r.lease++
	case event.Verb == "watch":
		r.watches++
	default:
		user := event.User.Username[strings.LastIndex(event.User.Username, ":")+1:]
		r.others[strings.TrimSpace(fmt.Sprintf("%s: %s %s %s", user, event.Verb, event.ObjectRef.Resource, event.ObjectRef.Subresource))]++
	}
}
