package corefile

import (
	"fmt"
	"net/netip"
	"strings"
)

// ACL is the directive acl: who may ask what.
type ACL struct {
	Zones []string
	// Rules in their order; the first that matches counts.
	Rules []ACLRule
}

// ACLRule is one line of acl.
type ACLRule struct {
	// Action is allow, block (REFUSED), filter (an empty answer) or drop (none).
	Action string
	// Types are mnemonics in upper case; none stands for all.
	Types []string
	// Sources are ranges of client addresses; none stands for all.
	Sources []netip.Prefix
}

// Effect implements Setting.
func (ACL) Effect() string {
	return "who may ask what; a query that is rewritten must be allowed before and after"
}

// readACL follows CoreDNS's plugin/acl.
func readACL(l *line) Setting {
	a := ACL{Zones: l.zones(0)}
	rule := func(o *line) { a.Rules = append(a.Rules, readACLRule(o)) }
	l.options(options{"allow": rule, "block": rule, "filter": rule, "drop": rule})
	return a
}

// readACLRule reads "ACTION [type QTYPE...] [net SOURCE...]". A star stands for all.
func readACLRule(o *line) ACLRule {
	r := ACLRule{Action: o.Words[0].Text}
	section, all := "", map[string]bool{}
	for _, text := range o.texts(0) {
		switch {
		case text == "type" || text == "net":
			section = text
		case section == "":
			o.mistake("%s: %q is neither type nor net; write for example \"net 10.0.0.0/8\"", o.path, text)
			return r
		case text == "*":
			all[section] = true
		case section == "type":
			r.Types = append(r.Types, strings.ToUpper(text))
		default:
			source, err := parseSource(text)
			if err != nil {
				o.mistake("%s: %v", o.path, err)
				return r
			}
			r.Sources = append(r.Sources, source)
		}
	}
	if all["type"] {
		r.Types = nil
	}
	if all["net"] {
		r.Sources = nil
	}
	return r
}

func parseSource(text string) (netip.Prefix, error) {
	if address, err := netip.ParseAddr(text); err == nil {
		address = address.Unmap().WithZone("")
		return netip.PrefixFrom(address, address.BitLen()), nil
	}
	prefix, err := netip.ParsePrefix(text)
	if err != nil {
		return prefix, fmt.Errorf("%q is neither an address nor a range; write for example 10.0.0.0/8 or 2001:db8::1", text)
	}
	return prefix.Masked(), nil
}

// DNS64 is the directive dns64: IPv6 addresses for what has only IPv4 ones (RFC 6147).
type DNS64 struct {
	// Prefix has 32, 40, 48, 56, 64 or 96 bits (RFC 6052, section 2.2).
	Prefix netip.Prefix
	// TranslateAll replaces IPv6 addresses that there are; AllowIPv4 translates for
	// clients that ask over IPv4 too.
	TranslateAll, AllowIPv4 bool
}

// Effect implements Setting.
func (d DNS64) Effect() string {
	return "names without IPv6 addresses get them made of their IPv4 addresses, below " + d.Prefix.String()
}

// readDNS64 follows CoreDNS's plugin/dns64.
func readDNS64(l *line) Setting {
	d := DNS64{Prefix: netip.MustParsePrefix("64:ff9b::/96")}
	prefix := func(o *line) {
		if len(o.args()) == 0 {
			return
		}
		p, err := netip.ParsePrefix(o.text(0))
		if bits := p.Bits(); err != nil || !p.Addr().Is6() || bits != 96 && (bits < 32 || bits > 64 || bits%8 != 0) {
			o.mistake("%s: %q is not an IPv6 range of 32, 40, 48, 56, 64 or 96 bits; write for example 64:ff9b::/96", o.path, o.text(0))
			return
		}
		d.Prefix = p.Masked()
	}
	if l.takes(0, 1, "[PREFIX]") {
		prefix(l)
	}
	l.options(options{
		"prefix": func(o *line) {
			if o.takes(1, 1, "PREFIX") {
				prefix(o)
			}
		},
		"translate_all": func(o *line) { d.TranslateAll = o.takes(0, 0, "") },
		"allow_ipv4":    func(o *line) { d.AllowIPv4 = o.takes(0, 0, "") },
	})
	return d
}
