package agent

import (
	"fmt"
	"log/slog"
	"strings"
	"sync"

	"github.com/fairlead-net/fairlead/internal/config"
	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/kube"
	"github.com/fairlead-net/fairlead/internal/l7/acme"
)

// challenges reads what a gateway answers certificate authorities from the Secret that
// the controller writes. Where nothing is ordered, nothing is read.
type challenges struct {
	log *slog.Logger
	// names has that Secret, or nothing.
	names map[kube.DataName]bool

	mu    sync.Mutex
	from  *kube.Data
	last  *acme.Answers
	wrong string
}

func newChallenges(c config.Config, log *slog.Logger) *challenges {
	made := &challenges{log: log, names: map[kube.DataName]bool{}, last: new(acme.Answers)}
	if c.ACME.AgreeToTerms {
		made.names[kube.DataName{Name: desired.Name{Namespace: c.Status.LeaseNamespace, Name: acme.AnswersSecret}}] = true
	}
	return made
}

// read returns what the Secret says now. Without it there are no answers.
func (c *challenges) read(data dataMap) *acme.Answers {
	c.mu.Lock()
	defer c.mu.Unlock()
	var from *kube.Data
	for name := range c.names {
		from, _ = data.Get(name)
	}
	if from == c.from {
		return c.last
	}
	c.from, c.wrong = from, ""
	if from == nil {
		c.last = new(acme.Answers)
		return c.last
	}
	answers, err := acme.ReadAnswers(acme.Secret{Type: from.Type, Data: from.Keys}, c.last)
	if err != nil {
		c.wrong = strings.ReplaceAll(err.Error(), "\n", "; ")
		c.log.Warn("answers for certificate authorities cannot be used", "secret", acme.AnswersSecret, "error", err)
	}
	c.last = answers
	return c.last
}

// problems says which answers cannot be used.
func (c *challenges) problems() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.wrong == "" {
		return nil
	}
	return []string{fmt.Sprintf("Secret %s: answers for certificate authorities cannot be used: %s", acme.AnswersSecret, c.wrong)}
}
