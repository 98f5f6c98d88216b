package agent

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/kube"
	"github.com/fairlead-net/fairlead/internal/l7/waf"
)

// marker is a text that nothing has been compiled of.
func marker() string { return fmt.Sprint("SecMarker at", time.Now().UnixNano()) }

// TestRuledAgain expects the State to be offered once more as rules have been compiled, to
// whom that concerns.
func TestRuledAgain(t *testing.T) {
	a := bare(t, Options{})
	ruled, others := make(chan *desired.State, 8), make(chan *desired.State, 8)
	a.pipelines = []pipeline{
		{ruled: true, offer: func(s *desired.State) { ruled <- s }},
		{offer: func(s *desired.State) { others <- s }},
	}
	ctx, cancel := context.WithCancel(t.Context())
	views, done := make(chan kube.View), make(chan error, 1)
	go func() { done <- a.build(ctx, views) }()
	views <- kube.View{Objects: desired.Objects{Synced: true}}
	first := <-ruled
	if _, err := waf.Shared().Compile("again", waf.Wanted{Own: marker()}); err != nil {
		t.Fatal(err)
	}
	if again := <-ruled; again != first {
		t.Error("another State was offered")
	}
	cancel()
	<-done
	if len(others) != 1 {
		t.Errorf("who has no rules was offered %d States", len(others))
	}
}

// TestFirstRules expects a gateway that begins to wait for its rules.
func TestFirstRules(t *testing.T) {
	data := &heldData{changed: make(chan struct{}, 1)}
	data.Want(nil)
	rules, err := waf.Shared().Read("first", waf.Wanted{Recommended: true, Own: marker()})
	if err != nil {
		t.Fatal(err)
	}
	waf.Shared().Start(rules)
	(&gatewayPlane{data: data}).complete(t.Context())
	if !rules.Ready() {
		t.Error("it serves before its rules are compiled")
	}
}
