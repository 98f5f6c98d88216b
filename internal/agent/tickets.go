package agent

import (
	"fmt"
	"log/slog"
	"sync"

	"github.com/fairlead-net/fairlead/internal/config"
	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/kube"
	"github.com/fairlead-net/fairlead/internal/l7/proxy"
)

// ticketSecret is the Secret that the chart makes for gateways, in the namespace of the lease,
// and ticketKey where in it what the keys of session tickets are derived from is.
const (
	ticketSecret = "fairlead-session-tickets"
	ticketKey    = "key"
)

// ticketing reads what gateways derive the keys of session tickets from. Where there is
// nothing, each has keys of its own.
type ticketing struct {
	log  *slog.Logger
	name kube.DataName

	mu    sync.Mutex
	from  *kube.Data
	wrong string
}

func newTicketing(c config.Config, log *slog.Logger) *ticketing {
	return &ticketing{log: log, name: kube.DataName{Name: desired.Name{Namespace: c.Status.LeaseNamespace, Name: ticketSecret}}}
}

// read returns what the Secret says now; nil if it says nothing that can be used.
func (t *ticketing) read(data dataMap) []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	from, _ := data.Get(t.name)
	if from == nil {
		t.from, t.wrong = nil, ""
		return nil
	}
	secret := from.Keys[ticketKey]
	if len(secret) >= proxy.MinTicketSecret {
		t.from, t.wrong = from, ""
		return secret
	}
	if from != t.from {
		t.from = from
		t.wrong = fmt.Sprintf("%s: %q has %d bytes, at least %d are needed for session tickets; delete the Secret, and upgrade", t.name, ticketKey, len(secret), proxy.MinTicketSecret)
		t.log.Warn("session tickets are not shared by gateways", "error", t.wrong)
	}
	return nil
}

// problems says why the Secret cannot be used.
func (t *ticketing) problems() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.wrong == "" {
		return nil
	}
	return []string{t.wrong}
}
