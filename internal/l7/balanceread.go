package l7

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/l7/filter"
)

// balanceReader reads the value of an annotation; the error says what is wrong with it,
// after the value.
type balanceReader func(b *Balance, text string) error

// balanceReaders are the annotations of Services, without desired.AnnotationPrefix.
func balanceReaders() map[string]balanceReader {
	return map[string]balanceReader{
		"balance":                readAlgorithm,
		"balance-by":             readHashBy,
		"slow-start":             durationOf(0, time.Hour, func(b *Balance) *time.Duration { return &b.SlowStart }),
		"zones":                  readZones,
		"eject-connect-failures": numberOf(0, 1000, func(b *Balance) *int { return &b.Ejection.Connect }),
		"eject-gateway-errors":   numberOf(0, 1000, func(b *Balance) *int { return &b.Ejection.Gateway }),
		"eject-5xx":              numberOf(0, 1000, func(b *Balance) *int { return &b.Ejection.Server }),
		"eject-time":             durationOf(time.Second, time.Hour, func(b *Balance) *time.Duration { return &b.Ejection.Time }),
		"eject-max-time":         durationOf(time.Second, 24*time.Hour, func(b *Balance) *time.Duration { return &b.Ejection.MaxTime }),
		"eject-max-percent":      numberOf(0, 100, func(b *Balance) *int { return &b.Ejection.Percent }),
		"max-requests":           numberOf(0, 1<<20, func(b *Balance) *int { return &b.Limits.Requests }),
		"max-pending":            numberOf(0, 1<<16, func(b *Balance) *int { return &b.Limits.Pending }),
		"max-connections":        numberOf(0, 1<<20, func(b *Balance) *int { return &b.Limits.Connections }),
		"retry-percent":          numberOf(0, 100, func(b *Balance) *int { return &b.Retries.Percent }),
		"retry-least":            numberOf(0, 1<<16, func(b *Balance) *int { return &b.Retries.Least }),
		"health-check":           readCheck,
		"health-check-path":      readCheckPath,
		"health-check-host":      readCheckHost,
		"health-check-interval":  durationOf(time.Second, time.Hour, func(b *Balance) *time.Duration { return &b.Check.Interval }),
		"health-check-timeout":   durationOf(100*time.Millisecond, time.Minute, func(b *Balance) *time.Duration { return &b.Check.Timeout }),
		"health-check-unhealthy": numberOf(1, 100, func(b *Balance) *int { return &b.Check.Unhealthy }),
		"health-check-healthy":   numberOf(1, 100, func(b *Balance) *int { return &b.Check.Healthy }),
	}
}

// defaultCheck is what a check is like of which nothing but the protocol is said.
var defaultCheck = HealthCheck{Path: "/", Interval: 10 * time.Second, Timeout: 2 * time.Second, Unhealthy: 3, Healthy: 2}

// readBalance reads the annotations of a Service; nil if none says anything. What is
// wrong keeps its default, and is said at the Service.
func readBalance(s *desired.Service) (*Balance, []desired.Reason) {
	var (
		reasons []desired.Reason
		said    bool
		b       = DefaultBalance()
		readers = map[string]balanceReader{}
	)
	if len(s.Annotations) > 0 {
		readers = balanceReaders()
	}
	b.Check = defaultCheck
	for _, key := range slices.Sorted(maps.Keys(s.Annotations)) {
		read := readers[strings.TrimPrefix(key, desired.AnnotationPrefix)]
		if read == nil {
			continue
		}
		text := strings.TrimSpace(s.Annotations[key])
		if err := read(&b, text); err != nil {
			reasons = append(reasons, desired.Reason{
				Object: desired.Ref{Kind: "Service", Namespace: s.Name.Namespace, Name: s.Name.Name}, Code: "AnnotationInvalid",
				Message: fmt.Sprintf("annotation %s: %q %v; it is left out", key, text, err),
			})
			continue
		}
		said = true
	}
	if !said {
		return nil, reasons
	}
	if b.Check.Protocol == 0 {
		b.Check = HealthCheck{}
	}
	b.Check.Timeout = min(b.Check.Timeout, b.Check.Interval)
	b.Ejection.MaxTime = max(b.Ejection.MaxTime, b.Ejection.Time)
	return &b, reasons
}

// numberOf reads a whole number within bounds.
func numberOf(least, most int, to func(*Balance) *int) balanceReader {
	return func(b *Balance, text string) error {
		n, err := strconv.Atoi(text)
		if err != nil || n < least || n > most {
			return fmt.Errorf("is no whole number from %d to %d", least, most)
		}
		*to(b) = n
		return nil
	}
}

// durationOf reads a time such as 30s within bounds.
func durationOf(least, most time.Duration, to func(*Balance) *time.Duration) balanceReader {
	return func(b *Balance, text string) error {
		d, err := time.ParseDuration(text)
		if err != nil || d < least || d > most {
			return fmt.Errorf("is no time from %s to %s, such as 30s", least, most)
		}
		*to(b) = d
		return nil
	}
}

func readAlgorithm(b *Balance, text string) error {
	how, ok := filter.ParseAlgorithm(text)
	if !ok {
		return errors.New("is none of round-robin, least-request, random, ewma, peak-ewma, ring-hash and maglev")
	}
	b.How = how
	return nil
}

func readHashBy(b *Balance, text string) error {
	t, err := filter.ParseTemplate(text)
	if err == nil && t.Plain() {
		err = errors.New("is the same for all requests, as it has no variable such as $request_uri")
	}
	if err == nil {
		b.HashBy = t
	}
	return err
}

func readZones(b *Balance, text string) error {
	at := slices.Index([]string{"hints", "prefer", "ignore"}, text)
	if at < 0 {
		return errors.New("is none of hints, prefer and ignore")
	}
	b.Zones = Zones(at)
	return nil
}

func readCheck(b *Balance, text string) error {
	at := slices.Index([]string{"none", "tcp", "http", "https"}, text)
	if at < 0 {
		return errors.New("is none of none, tcp, http and https")
	}
	b.Check.Protocol = CheckProtocol(at)
	return nil
}

func readCheckPath(b *Balance, text string) error {
	_, err := url.ParseRequestURI(text)
	if err != nil || !strings.HasPrefix(text, "/") || strings.HasPrefix(text, "//") || len(text) > 1024 || !visible(text) || strings.Contains(text, "#") {
		return errors.New("is no path that begins with one slash, of at most 1024 visible characters")
	}
	b.Check.Path = text
	return nil
}

func readCheckHost(b *Balance, text string) error {
	strange := func(c rune) bool {
		return !strings.ContainsRune("-._:", c) && (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'z')
	}
	if text == "" || len(text) > 255 || strings.ContainsFunc(text, strange) {
		return errors.New("is no name of a host, with a port or not")
	}
	b.Check.Host = text
	return nil
}

// visible tells whether all is visible ASCII.
func visible(text string) bool {
	return !strings.ContainsFunc(text, func(c rune) bool { return c <= ' ' || c >= 0x7f })
}
