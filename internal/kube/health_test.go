package kube

import (
	"errors"
	"testing"
	"time"
)

func TestHealthProblem(t *testing.T) {
	now := time.Now()
	h := &health{}
	if p := h.problem(now); p != "" {
		t.Errorf("at first: %q", p)
	}
	h.failed = map[string]failure{
		"services": {now.Add(-5 * time.Second), errors.New("connection refused")},
		"nodes":    {now.Add(-90 * time.Second), errors.New("no such right")},
	}
	if p := h.problem(now); p != "nodes cannot be read from the API server since 1m30s: no such right; what was read before stays in force" {
		t.Errorf("the longest failure counts: %q", p)
	}
	h.note("nodes", errors.New("timeout"))
	if f := h.failed["nodes"]; f.since != now.Add(-90*time.Second) || f.err.Error() != "timeout" {
		t.Errorf("a failure that goes on: %+v", f)
	}
	h.note("nodes", nil)
	if p := h.problem(now); p != "services cannot be read from the API server since 5s: connection refused; what was read before stays in force" {
		t.Errorf("after one success: %q", p)
	}
	h.note("services", nil)
	if p := h.problem(now); p != "" {
		t.Errorf("in the end: %q", p)
	}
}
