package agent

import (
	"log/slog"
	"slices"
	"sync"

	"github.com/fairlead-net/fairlead/internal/desired"
)

// said tells of Reasons against the ConfigMaps that a gateway follows, once each: what is
// wrong there concerns all that it serves. Reasons against Ingresses are Events, which
// another process writes; without a cluster there is none, so all of them are told.
type said struct {
	log *slog.Logger
	all bool

	mu   sync.Mutex
	last []desired.Reason
	told []desired.Reason
}

// note takes all Reasons that there are now.
func (s *said) note(reasons []desired.Reason) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if slices.Equal(s.last, reasons) {
		return
	}
	s.last = reasons
	before := map[desired.Reason]bool{}
	for _, r := range s.told {
		before[r] = true
	}
	s.told = nil
	for _, r := range reasons {
		if !s.all && r.Object.Kind != "ConfigMap" {
			continue
		}
		s.told = append(s.told, r)
		if !before[r] {
			s.log.Warn("object not used as written", "object", r.Object.String(), "code", r.Code, "message", r.Message)
		}
	}
}

// lines says what is wrong with ConfigMaps.
func (s *said) lines() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var lines []string
	for _, r := range s.told {
		if r.Object.Kind == "ConfigMap" && len(lines) < maxNotes {
			lines = append(lines, r.Object.String()+": "+r.Message)
		}
	}
	return lines
}
