package agent

import (
	"log/slog"
	"maps"
	"slices"
	"sync"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/kube"
	"github.com/fairlead-net/fairlead/internal/l7"
	"github.com/fairlead-net/fairlead/internal/l7/filter"
	"github.com/fairlead-net/fairlead/internal/l7/proxy"
)

// contents reads what Filters of Routes name: users, header fields. What cannot be read
// is not there, and a Filter without it lets nothing through.
type contents struct {
	log *slog.Logger

	mu   sync.Mutex
	last map[filter.Reference]contentOf
}

// contentOf is what was read of an object, and what of it was left out.
type contentOf struct {
	from    *kube.Data
	content *filter.Content
	wrong   []string
}

func newContents(log *slog.Logger) *contents {
	return &contents{log: log, last: map[filter.Reference]contentOf{}}
}

// dataName is the object that a Reference names.
func dataName(r filter.Reference) kube.DataName {
	config := r.Purpose == filter.RequestFields || r.Purpose == filter.AnswerFields
	return kube.DataName{ConfigMap: config, Name: desired.Name{Namespace: r.Namespace, Name: r.Name}}
}

// read returns what the objects hold that a Table names. Only those that changed are
// read again.
func (c *contents) read(t l7.Table, data dataMap) proxy.Contents {
	c.mu.Lock()
	defer c.mu.Unlock()
	now, all := map[filter.Reference]contentOf{}, proxy.Contents{}
	for r := range t.References.All() {
		from, exists := data.Get(dataName(r))
		if !exists {
			continue
		}
		of := c.last[r]
		if of.from != from {
			of = contentOf{from: from}
			of.content, of.wrong = filter.Read(r, from.Keys)
			for _, problem := range of.wrong {
				c.log.Warn("object not used as written", "object", dataName(r).String(), "message", problem)
			}
		}
		now[r] = of
		if of.content != nil {
			all[r] = of.content
		}
	}
	c.last = now
	return all
}

// wrong is how much of an object cannot be used.
func (c *contents) wrong(r filter.Reference) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.last[r].wrong)
}

// problems says what of the objects cannot be used.
func (c *contents) problems() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	lines := map[string]bool{}
	for r, of := range c.last {
		for _, problem := range of.wrong {
			lines[dataName(r).String()+": "+problem] = true
		}
	}
	return slices.Sorted(maps.Keys(lines))
}
