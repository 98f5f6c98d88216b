package rules

import (
	"fmt"
	"io"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	texttemplate "text/template"

	wire "github.com/miekg/dns"

	"github.com/fairlead-net/fairlead/internal/dns"
	"github.com/fairlead-net/fairlead/internal/dns/corefile"
)

// maxRecord bounds the text of one record that a template makes.
const maxRecord = 8192

// template is one directive template.
type template struct {
	class, qtype               uint16 // ANY stands for all
	zones                      []string
	match                      []*regexp.Regexp
	answers, authority, extras []*texttemplate.Template
	rcode                      int
	fallthroughs               corefile.Fallthrough
	extended                   *dns.ExtendedError
}

// newTemplate follows the README of CoreDNS's plugin/template.
func newTemplate(c corefile.Template, zones []string) (template, error) {
	t := template{class: wire.ClassANY, zones: c.Zones, match: c.Match, fallthroughs: c.Fallthrough}
	if len(t.zones) == 0 {
		t.zones = zones
	}
	if e := c.Error; e != nil {
		t.extended = &dns.ExtendedError{Code: uint16(e.Code), Text: e.Text}
	}
	var err error
	if t.qtype, err = typeNumber(c.Type); err != nil {
		return t, err
	}
	if c.Class != "ANY" {
		if t.class, err = classNumber(c.Class); err != nil {
			return t, err
		}
	}
	var known bool
	if t.rcode, known = wire.StringToRcode[c.RCode]; !known {
		return t, fmt.Errorf("template: %q is no response code", c.RCode)
	}
	for _, section := range []struct {
		texts []string
		into  *[]*texttemplate.Template
	}{{c.Answer, &t.answers}, {c.Authority, &t.authority}, {c.Additional, &t.extras}} {
		for _, text := range section.texts {
			parsed, err := texttemplate.New("record").Funcs(texttemplate.FuncMap{"parseInt": strconv.ParseUint}).Parse(text)
			if err != nil {
				return t, fmt.Errorf("template: %q: %w", text, err)
			}
			*section.into = append(*section.into, parsed)
		}
	}
	return t, nil
}

// values are what a template's text can use, by CoreDNS's names. Its .Meta, from
// other plugins, is not there.
type values struct {
	Zone, Name, Class, Type string
	Match                   []string
	Group                   map[string]string
	Message                 *wire.Msg
	Question                *wire.Question
	Remote                  string
}

// answer makes the Reply of an Outcome, and reports whether it did: if not, the query
// goes on.
func (t *template) answer(o *Outcome, client netip.Addr, name string) bool {
	asked := o.Request.Question[0]
	if t.class != wire.ClassANY && t.class != asked.Qclass || t.qtype != wire.TypeANY && t.qtype != asked.Qtype {
		return false
	}
	zone, in := zoneOf(t.zones, name)
	if !in {
		return false
	}
	v := values{
		Zone: zone, Name: name, Class: wire.ClassToString[asked.Qclass], Type: wire.TypeToString[asked.Qtype],
		// A copy: a template can call methods that change a message.
		Message: o.Request.Copy(), Question: &asked, Remote: client.String(),
	}
	if !t.matches(&v) {
		if through(t.fallthroughs, name) {
			return false
		}
		o.reply("template", wire.RcodeServerFailure)
		o.Error = &dns.ExtendedError{Code: dns.ErrorOther, Text: "a template has the name's zone, no pattern of it matches, and it does not fall through"}
		return true
	}
	if err := t.fill(o, v); err != nil {
		o.reply("template", wire.RcodeServerFailure)
		o.Error = &dns.ExtendedError{Code: dns.ErrorOther, Text: "a template cannot be filled in: " + err.Error()}
		return true
	}
	o.Error = t.extended
	return true
}

// matches looks for the first pattern that matches, and notes its groups.
func (t *template) matches(v *values) bool {
	if len(t.match) == 0 {
		v.Match, v.Group = []string{v.Name}, map[string]string{"0": v.Name}
		return true
	}
	for _, pattern := range t.match {
		groups := pattern.FindStringSubmatch(v.Name)
		if groups == nil {
			continue
		}
		v.Match, v.Group = groups, map[string]string{}
		for i, name := range pattern.SubexpNames() {
			v.Group[strconv.Itoa(i)] = groups[i]
			if name != "" {
				v.Group[name] = groups[i]
			}
		}
		return true
	}
	return false
}

func (t *template) fill(o *Outcome, v values) error {
	o.reply("template", t.rcode)
	for _, section := range []struct {
		from []*texttemplate.Template
		into *[]wire.RR
	}{{t.answers, &o.Reply.Answer}, {t.authority, &o.Reply.Ns}, {t.extras, &o.Reply.Extra}} {
		for _, text := range section.from {
			rr, err := record(text, v)
			if err != nil {
				return err
			}
			*section.into = append(*section.into, rr)
		}
	}
	asked := o.Request.Question[0]
	for _, rr := range o.Reply.Answer {
		if h := rr.Header(); strings.EqualFold(h.Name, asked.Name) {
			h.Name = asked.Name // whose case can be a client's means against forgers
		}
	}
	last := len(o.Reply.Answer) - 1
	if last < 0 || asked.Qtype == wire.TypeCNAME || asked.Qtype == wire.TypeANY {
		return nil
	}
	if alias, ok := o.Reply.Answer[last].(*wire.CNAME); ok {
		o.Chase = alias.Target
	}
	return nil
}

// record fills in one record. A client's name cannot make two of it: the DNS library
// reads one, and names of clients come from it with all special characters escaped.
func record(text *texttemplate.Template, v values) (wire.RR, error) {
	var out bounded
	if err := text.Execute(&out, v); err != nil {
		return nil, err
	}
	rr, err := wire.NewRR(out.String())
	if err == nil && rr == nil {
		err = fmt.Errorf("%q is no record", out.String())
	}
	return rr, err
}

// bounded is a text of at most maxRecord bytes.
type bounded struct{ strings.Builder }

func (b *bounded) Write(p []byte) (int, error) {
	if b.Len()+len(p) > maxRecord {
		return 0, fmt.Errorf("the record is longer than %d bytes: %w", maxRecord, io.ErrShortBuffer)
	}
	return b.Builder.Write(p)
}
