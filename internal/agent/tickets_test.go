package agent

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/fairlead-net/fairlead/internal/config"
	"github.com/fairlead-net/fairlead/internal/kube"
)

// TestTicketing holds that the Secret is that of the lease's namespace, and that one which
// cannot be used is said.
func TestTicketing(t *testing.T) {
	c := config.Config{}
	c.Status.LeaseNamespace = "fairlead-system"
	tickets := newTicketing(c, slog.New(slog.DiscardHandler))
	if got := tickets.name.String(); got != "Secret fairlead-system/fairlead-session-tickets" {
		t.Error(got)
	}
	for _, step := range []struct {
		key  string
		want string
	}{{"", ""}, {strings.Repeat("k", 43), strings.Repeat("k", 43)}, {"short", ""}, {strings.Repeat("l", 32), strings.Repeat("l", 32)}} {
		data := dataMap{}
		if step.key != "" {
			data = data.Set(tickets.name, &kube.Data{Keys: map[string][]byte{"key": []byte(step.key)}})
		}
		got := string(tickets.read(data))
		if wrong := len(tickets.problems()) > 0; got != step.want || wrong != (step.key == "short") {
			t.Errorf("%q: %q, %q", step.key, got, tickets.problems())
		}
	}
}
