package nginx

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fairlead-net/fairlead/internal/l7/accesslog"
)

// Engine are settings of the engine. What the ConfigMap does not say is the zero value:
// then it is as the administrator's own configuration has it.
type Engine struct {
	// Trusted are proxies whose word about clients counts, ProxyProtocol peers whose
	// connections begin with a header of the PROXY protocol. Without any, but not nil: there
	// are none.
	Trusted, ProxyProtocol []netip.Prefix
	// IdleTimeout is for the next request of a client, HeadTimeout for its header,
	// BodyTimeout for the next part of its body, UpstreamIdle for the next request to an
	// endpoint.
	IdleTimeout, HeadTimeout, BodyTimeout, UpstreamIdle time.Duration
	// MaxIdle bounds the connections to an endpoint that wait for a request, MaxStreams
	// the requests under way on a client's connection.
	MaxIdle, MaxStreams int
	// MaxLine and MaxHead bound a request's first line, and its header, in bytes.
	MaxLine, MaxHead int
	// TLS13: no earlier version is spoken with clients.
	TLS13 bool
	// Format and Skips say how requests are written down, and which are not; nil: as the
	// configuration says. NoLog: none is.
	Format *accesslog.Format
	Skips  *accesslog.Skips
	NoLog  bool
	// StreamTimeout ends connections and sessions of TCP and UDP Listeners on which
	// nothing moves; StreamTries is how many endpoints are tried for one.
	StreamTimeout time.Duration
	StreamTries   int
}

// everyone is ingress-nginx's default of proxy-real-ip-cidr.
func everyone() []netip.Prefix {
	return []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}
}

// engineReaders are the keys that say something of the engine.
func engineReaders() map[string]func(string, *Settings) error {
	noted := func(string, *Settings) error { return nil } // read together
	return map[string]func(string, *Settings) error{
		"use-forwarded-headers": noted, "use-proxy-protocol": noted, "proxy-real-ip-cidr": noted,
		"log-format-upstream": noted, "log-format-escape-json": noted, "skip-access-log-urls": noted,
		"keep-alive":                     period(func(s *Settings) *time.Duration { return &s.Engine.IdleTimeout }),
		"client-header-timeout":          period(func(s *Settings) *time.Duration { return &s.Engine.HeadTimeout }),
		"client-body-timeout":            period(func(s *Settings) *time.Duration { return &s.Engine.BodyTimeout }),
		"upstream-keepalive-timeout":     period(func(s *Settings) *time.Duration { return &s.Engine.UpstreamIdle }),
		"proxy-stream-timeout":           period(func(s *Settings) *time.Duration { return &s.Engine.StreamTimeout }),
		"upstream-keepalive-connections": number("connections", 1, 100_000, func(s *Settings) *int { return &s.Engine.MaxIdle }),
		"http2-max-concurrent-streams":   number("requests at a time", 1, 10_000, func(s *Settings) *int { return &s.Engine.MaxStreams }),
		"proxy-stream-next-upstream-tries": number("tries", 1, 16, func(s *Settings) *int {
			return &s.Engine.StreamTries
		}),
		"large-client-header-buffers": readHeaderBuffers,
		"ssl-protocols":               readProtocols,
		"disable-access-log":          yes(func(s *Settings) *bool { return &s.Engine.NoLog }),
		"disable-http-access-log":     yes(func(s *Settings) *bool { return &s.Engine.NoLog }),
	}
}

// period reads a time that is more than none.
func period(of func(*Settings) *time.Duration) func(string, *Settings) error {
	return func(value string, s *Settings) error {
		d, err := nginxTime(strings.TrimSpace(value))
		if err == nil && d <= 0 {
			err = errors.New("is no time, and without one nothing would be waited for")
		}
		if err == nil {
			*of(s) = d
		}
		return err
	}
}

func number(what string, least, most int, of func(*Settings) *int) func(string, *Settings) error {
	return func(value string, s *Settings) error {
		n, err := strconv.Atoi(strings.TrimSpace(value))
		if err != nil || n < least || n > most {
			return fmt.Errorf("is no number of %s from %d to %d", what, least, most)
		}
		*of(s) = n
		return nil
	}
}

func yes(of func(*Settings) *bool) func(string, *Settings) error {
	return func(value string, s *Settings) error {
		is, err := strconv.ParseBool(strings.TrimSpace(value))
		if err != nil {
			return errors.New("is not true or false")
		}
		*of(s) = *of(s) || is
		return nil
	}
}

// readHeaderBuffers takes NUMBER SIZE: a line fits into one buffer, a header into all.
func readHeaderBuffers(value string, s *Settings) error {
	words := strings.Fields(value)
	if len(words) != 2 {
		return errors.New("is not NUMBER SIZE, such as 4 8k")
	}
	n, err := strconv.Atoi(words[0])
	var size Options
	if wrong := readBodySize(words[1], &size); err != nil || wrong != nil || n < 1 || n > 64 || size.MaxBody < 256 || int64(n)*size.MaxBody > 1<<20 {
		return errors.New("is not NUMBER SIZE, such as 4 8k, of 1 to 64 buffers that are 1m together at most")
	}
	s.Engine.MaxLine, s.Engine.MaxHead = int(size.MaxBody), n*int(size.MaxBody)
	return nil
}

// readProtocols takes versions of TLS. Those that nobody should speak any more are not
// spoken, which is said.
func readProtocols(value string, s *Settings) error {
	names := strings.Fields(value)
	has := func(name string) bool { return slices.Contains(names, name) }
	switch {
	case !has("TLSv1.2") && !has("TLSv1.3"):
		return errors.New("has neither TLSv1.2 nor TLSv1.3, which are those that are spoken")
	case !has("TLSv1.3"):
		return errors.New("has no TLSv1.3, which is always spoken")
	}
	s.Engine.TLS13 = !has("TLSv1.2")
	if len(names) > 2 || len(names) == 2 && s.Engine.TLS13 {
		return &partly{fmt.Sprintf("of %q those beside TLSv1.2 and TLSv1.3 are not spoken", value)}
	}
	return nil
}

// partly is a value of which a part is left out, and the rest followed.
type partly struct{ text string }

// Error implements error.
func (p *partly) Error() string { return p.text }

// engine reads the keys that mean something together.
func (s *Settings) engine(data map[string]string, r *report) {
	s.trust(data, r)
	wrong := func(key string, err error) {
		r.add("SettingInvalid", "ConfigMap key %s: it %v; it is left out", key, err)
	}
	escapes, _ := r.either(data, "log-format-escape-json")
	if text, has := data["log-format-upstream"]; has {
		format, err := accesslog.Parse(text, escapes)
		if err != nil {
			wrong("log-format-upstream", err)
		} else {
			s.Engine.Format = format
		}
	}
	if text := data["skip-access-log-urls"]; text != "" {
		var urls []string
		for url := range strings.SplitSeq(text, ",") {
			if url = strings.TrimSpace(url); url != "" {
				urls = append(urls, url)
			}
		}
		skips, err := accesslog.ParseSkips(urls)
		if err != nil {
			wrong("skip-access-log-urls", err)
		} else {
			s.Engine.Skips = skips
		}
	}
}

// trust reads whose word about clients counts: of whom, with which of two keys. Without
// either the ranges say nothing.
func (s *Settings) trust(data map[string]string, r *report) {
	ranges := everyone()
	if text, has := data["proxy-real-ip-cidr"]; has {
		given, err := readRanges(text)
		if err != nil {
			// Nobody is trusted by a list that cannot be read.
			r.add("SettingInvalid", "ConfigMap key proxy-real-ip-cidr: %q %v; nobody is believed until it is corrected", text, err)
			given = []netip.Prefix{}
		}
		ranges = given
	}
	for key, to := range map[string]*[]netip.Prefix{"use-forwarded-headers": &s.Engine.Trusted, "use-proxy-protocol": &s.Engine.ProxyProtocol} {
		switch is, said := r.either(data, key); {
		case is:
			*to = ranges
		case said:
			*to = []netip.Prefix{}
		}
	}
}

// either reads true or false, and tells whether either is said.
func (r *report) either(data map[string]string, key string) (is, said bool) {
	value, said := data[key]
	is, err := strconv.ParseBool(strings.TrimSpace(value))
	if err != nil && said {
		r.add("SettingInvalid", "ConfigMap key %s: %q is not true or false; it is left out", key, value)
	}
	return is, err == nil
}
