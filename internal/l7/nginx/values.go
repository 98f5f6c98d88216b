package nginx

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

type duration = time.Duration

// flag reads true or false, as Go's strconv does.
func flag(of func(*Options) *bool) func(string, *Options) error {
	return func(value string, o *Options) error {
		b, err := strconv.ParseBool(strings.TrimSpace(value))
		if err != nil {
			return errors.New("is not true or false")
		}
		*of(o) = b
		return nil
	}
}

// readAccessLog reads whether requests are written down.
func readAccessLog(value string, o *Options) error {
	logs := true
	err := flag(func(*Options) *bool { return &logs })(value, o)
	o.Filters.NoAccessLog = !logs
	return err
}

// seconds reads a whole number of seconds, up to a day.
func seconds(of func(*Options) *duration) func(string, *Options) error {
	return func(value string, o *Options) error {
		n, err := strconv.ParseUint(strings.TrimSuffix(strings.TrimSpace(value), "s"), 10, 32)
		if err != nil || n == 0 || n > 86400 {
			return errors.New("is not a number of seconds from 1 to 86400")
		}
		*of(o) = time.Duration(n) * time.Second
		return nil
	}
}

// readRewriteTarget takes a path, in which $1 to $9 stand for groups.
func readRewriteTarget(value string, o *Options) error {
	switch {
	case value == "":
		return nil // as if it were not there
	case len(value) > 1024:
		return errors.New("has more than 1024 characters")
	case value[0] != '/' && value[0] != '$':
		return errors.New("does not begin with / or $")
	}
	if i := strings.IndexFunc(value, func(c rune) bool { return c <= ' ' || c == 0x7f || strings.ContainsRune("?#%{};\"'\\", c) }); i >= 0 {
		return fmt.Errorf("has %q, which is not supported in a rewritten path", value[i])
	}
	for segment := range strings.SplitSeq(value, "/") {
		if segment == "." || segment == ".." {
			return errors.New("has a dot segment, which no path has that a backend gets")
		}
	}
	for i := range len(value) {
		if value[i] == '$' && (i+1 == len(value) || value[i+1] < '1' || value[i+1] > '9') {
			return errors.New("has a $ that no digit from 1 to 9 follows; other variables are not supported")
		}
	}
	o.RewriteTarget = value
	return nil
}

// readAppRoot takes an absolute path.
func readAppRoot(value string, o *Options) error {
	if !strings.HasPrefix(value, "/") || strings.HasPrefix(value, "//") {
		return errors.New("is not a path that begins with one slash")
	}
	if err := plainURL(value); err != nil {
		return err
	}
	o.AppRoot = value
	return nil
}

// plainURL refuses what a Location header must not have, and variables.
func plainURL(text string) error {
	if len(text) > 2048 {
		return errors.New("has more than 2048 characters")
	}
	for i := range len(text) {
		if c := text[i]; c <= ' ' || c >= 0x7f || strings.IndexByte("\"<>\\^`{|}$", c) >= 0 {
			return fmt.Errorf("has %q, which a URL must not have", c)
		}
	}
	return nil
}

// readHost takes a host name, with a port or without.
func readHost(value string, o *Options) error {
	for i := range len(value) {
		c := value[i]
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-._:[]", c) >= 0) {
			return fmt.Errorf("has %q, which a host must not have; variables are not supported", c)
		}
	}
	if value == "" || len(value) > 260 {
		return errors.New("is not a host of 1 to 260 characters")
	}
	o.UpstreamHost = value
	return nil
}

func readForwardedPrefix(value string, o *Options) error {
	if err := plainURL(value); err != nil {
		return err
	}
	o.ForwardedPrefix = value
	return nil
}

func readProtocol(value string, o *Options) error {
	switch p := strings.ToUpper(strings.TrimSpace(value)); p {
	case "HTTP", "HTTPS", "GRPC", "GRPCS", "AUTO_HTTP":
		o.Protocol = p
		return nil
	}
	return errors.New("is none of HTTP, HTTPS, GRPC, GRPCS and AUTO_HTTP, which are supported")
}

// readBodySize takes a size as nginx has it: octets, or with k, m or g; 0 is any.
func readBodySize(value string, o *Options) error {
	text, factor := strings.ToLower(strings.TrimSpace(value)), int64(1)
	if text != "" {
		if i := strings.IndexByte("kmg", text[len(text)-1]); i >= 0 {
			text, factor = text[:len(text)-1], 1<<(10*(i+1))
		}
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 || n > 1<<50/factor {
		return errors.New("is not a size such as 8m, or 0 for any")
	}
	o.MaxBody, o.HasMaxBody = n*factor, true
	return nil
}

func readAllow(value string, o *Options) error {
	ranges, err := readRanges(value)
	o.Allow = append(o.Allow, ranges...)
	return err
}

func readDeny(value string, o *Options) error {
	ranges, err := readRanges(value)
	o.Deny = append(o.Deny, ranges...)
	return err
}

// readRanges takes ranges or addresses with commas between.
func readRanges(value string) ([]netip.Prefix, error) {
	var ranges []netip.Prefix
	for text := range strings.SplitSeq(value, ",") {
		text = strings.TrimSpace(text)
		if text == "" {
			continue
		}
		if p, err := netip.ParsePrefix(text); err == nil {
			if p.Addr().Is4In6() {
				if p.Bits() < 96 {
					return nil, fmt.Errorf("has %q, which is partly of IPv4; write two ranges", text)
				}
				p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
			}
			ranges = append(ranges, p.Masked())
		} else if a, err := netip.ParseAddr(text); err == nil && a.Zone() == "" {
			ranges = append(ranges, netip.PrefixFrom(a.Unmap(), a.Unmap().BitLen()))
		} else {
			return nil, fmt.Errorf("has %q, which is neither ADDRESS nor ADDRESS/BITS", text)
		}
	}
	if len(ranges) == 0 {
		return nil, errors.New("names no range")
	}
	return ranges, nil
}

// readAliases takes host names with commas between, exact or *.REST.
func readAliases(value string, o *Options) error {
	for name := range strings.SplitSeq(value, ",") {
		name = strings.ToLower(strings.TrimSpace(name))
		rest := strings.TrimPrefix(name, "*.")
		if rest == "" || len(name) > 253 || strings.Trim(rest, "abcdefghijklmnopqrstuvwxyz0123456789-.") != "" || strings.HasPrefix(rest, ".") || strings.Contains(rest, "..") {
			o.Aliases = nil
			return fmt.Errorf("has %q, which is no host name; regular expressions are not supported", name)
		}
		o.Aliases = append(o.Aliases, name)
	}
	if len(o.Aliases) > 64 {
		o.Aliases = nil
		return errors.New("names more than 64 hosts")
	}
	return nil
}
