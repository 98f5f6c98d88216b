package nginx

import (
	"errors"
	"strconv"
	"strings"

	"github.com/fairlead-net/fairlead/internal/l7/filter"
)

// limitReaders are the annotations that bound what a client may do; all are read
// together. Those that say how much guard, as without them there is no bound.
func limitReaders() map[string]reader {
	all := map[string]reader{}
	for _, name := range []string{"limit-rps", "limit-rpm", "limit-connections", "limit-burst-multiplier", "limit-whitelist", "limit-allowlist", "limit-rate", "limit-rate-after"} {
		all[name] = reader{nothing, true}
	}
	return all
}

// limits reads them.
func (r *report) limits(given map[string]string) {
	l := filter.Limits{Burst: 5}
	for name, to := range map[string]*int{"limit-rps": &l.PerSecond, "limit-rpm": &l.PerMinute, "limit-connections": &l.Connections} {
		*to = r.amount(given, name)
	}
	if n := r.amount(given, "limit-burst-multiplier"); n > 0 {
		l.Burst = n
	}
	l.Rate, l.After = int64(r.amount(given, "limit-rate"))<<10, int64(r.amount(given, "limit-rate-after"))<<10
	for _, name := range []string{"limit-whitelist", "limit-allowlist"} {
		if text := given[name]; text != "" {
			ranges, err := readRanges(text)
			if err != nil {
				r.wrong(name, text, true, err)
			}
			l.Exempt = append(l.Exempt, ranges...)
		}
	}
	if l.Counts() || l.Rate > 0 {
		r.options.Filters.Limits = &l
	}
}

// amount reads a whole number; 0 is no bound.
func (r *report) amount(given map[string]string, name string) int {
	text := strings.TrimSpace(given[name])
	if text == "" {
		return 0
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 || n > 1_000_000 {
		r.wrong(name, text, true, errors.New("is no whole number from 0 to 1000000"))
		return 0
	}
	return n
}
