package build

import (
	"strings"
	"sync/atomic"
	"testing"
)

func TestWatchTellsPackagesFromComplaints(t *testing.T) {
	var compiled atomic.Int64
	complaints := watch(strings.NewReader(`internal/abi
github.com/miekg/dns
# github.com/fairlead-net/fairlead/lab/x
x/x.go:3:2: undefined: y
go: downloading example.com/z v1.0.0
k8s.io/api/core/v1
`), &compiled)
	if compiled.Load() != 3 {
		t.Errorf("%d packages", compiled.Load())
	}
	if strings.Count(complaints, "\n") != 3 || !strings.Contains(complaints, "undefined: y") {
		t.Errorf("complaints: %s", complaints)
	}
}
