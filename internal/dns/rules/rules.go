package rules

import (
	"fmt"
	"strings"

	wire "github.com/miekg/dns"

	"github.com/fairlead-net/fairlead/internal/dns"
	"github.com/fairlead-net/fairlead/internal/dns/corefile"
)

// Rules are those of one server block. They and all they point to are immutable.
type Rules struct {
	acl       []acl
	rewrites  []rewrite
	templates []template
	hosts     *hosts
	dns64     *corefile.DNS64
	chaos     *chaos
	logs      []logging
	errors    *corefile.Errors
	taps      []*Tap
	// nsid is what the server calls itself; nil if it does not say, empty for the host's
	// name.
	nsid *string
	// whoami tells clients who they are, if nobody else has an answer.
	whoami bool
	// any answers type ANY briefly, local names below localhost, minimal leaves
	// out what nobody asked for.
	any, local, minimal bool
}

// Files reads a file that a Corefile names.
type Files func(path string) ([]byte, error)

// New returns the Rules of a server block. An error names the directive by file and
// line. A hosts file that cannot be read is not an error: it may come later.
func New(server corefile.Server, files Files) (*Rules, error) {
	r := new(Rules)
	zones := serverZones(server)
	for _, d := range server.Directives {
		if err := r.add(d, zones, files); err != nil {
			return nil, Problem{d.Position, err}
		}
	}
	r.whoami = r.whoami && !server.Forwards()
	return r, nil
}

// Problem says which directive cannot be followed, and why.
type Problem struct {
	corefile.Position
	Why error
}

func (p Problem) Error() string { return fmt.Sprintf("%s: %v", p.Position, p.Why) }

// Unwrap returns the reason.
func (p Problem) Unwrap() error { return p.Why }

// serverZones are those that a directive has which names none.
func serverZones(server corefile.Server) []string {
	var zones []string
	for _, k := range server.Keys {
		zones = append(zones, k.Zone)
	}
	return zones
}

func (r *Rules) add(d corefile.Directive, zones []string, files Files) error {
	switch v := d.Setting.(type) {
	case corefile.ACL:
		a, err := newACL(v, zones)
		r.acl = append(r.acl, a)
		return err
	case corefile.Rewrite:
		w, err := newRewrite(v)
		r.rewrites = append(r.rewrites, w)
		return err
	case corefile.Template:
		t, err := newTemplate(v, zones)
		r.templates = append(r.templates, t)
		return err
	case corefile.Hosts:
		r.hosts = newHosts(v, zones, files)
	case corefile.DNS64:
		r.dns64 = &v
	case corefile.Log:
		r.logs = append(r.logs, newLogging(v))
	case corefile.Errors:
		r.errors = &v
	case corefile.Dnstap:
		if v.Network != "" { // else it is one that is not supported
			r.taps = append(r.taps, newTap(v))
		}
	case corefile.Simple:
		switch v.Name {
		case "nsid":
			name := strings.Join(v.Args, " ")
			r.nsid = &name
		case "whoami":
			r.whoami = true
		case "any":
			r.any = true
		case "local":
			r.local = true
		case "minimal":
			r.minimal = true
		case "chaos":
			r.chaos = newChaos(v.Args)
		}
	}
	return nil
}

// Empty reports whether no query is treated otherwise than without rules, but for
// those with an option NSID and those that fail.
func (r *Rules) Empty() bool {
	return len(r.acl)+len(r.rewrites)+len(r.templates)+len(r.logs)+len(r.taps) == 0 && !r.whoami && r.hosts == nil && r.dns64 == nil && r.chaos == nil && !r.any && !r.local && !r.minimal
}

// Outcome is what becomes of a query.
type Outcome struct {
	// Drop means that there is no reply at all.
	Drop bool
	// Reply, if there is one, is complete but for the header's RA bit, an OPT record and
	// what Undo does.
	Reply *wire.Msg
	// Chase is a name at which aliases in the Reply end: its records of the type asked
	// for belong into the answer too. Empty if there is nothing to add.
	Chase string
	// By is the directive that made the Reply or dropped the query.
	By string
	// Error says more about the Reply's response code; nil if there is nothing to say.
	Error *dns.ExtendedError
	// Request is what to ask if there is no Reply: the client's own, or a changed copy.
	Request *wire.Msg

	undo []func(*wire.Msg)
	// aliases are the rules for the targets of aliases in the reply.
	aliases []*matcher
	options options
}

// Query returns what becomes of a query with one question from a client. The request is
// not changed.
func (r *Rules) Query(client Client, request *wire.Msg) Outcome {
	o := Outcome{Request: request}
	if action := r.access(client.Address, request.Question[0]); action != allow {
		return o.refuse(action)
	}
	if r.rewrite(&o, client); o.Request != request {
		if action := r.access(client.Address, o.Request.Question[0]); action != allow {
			return o.refuse(action)
		}
	}
	asked := o.Request.Question[0]
	name := fold(asked.Name)
	switch {
	case r.any && asked.Qtype == wire.TypeANY:
		o.reply("any", wire.RcodeSuccess)
		o.Reply.Answer = []wire.RR{&wire.HINFO{Hdr: header(asked.Name, wire.TypeHINFO, anyTTL), Cpu: "ANY obsoleted", Os: "See RFC 8482"}}
		return o
	case r.chaos != nil && asked.Qclass == wire.ClassCHAOS:
		if r.chaos.answer(&o, name) {
			return o
		}
	case r.local && asked.Qclass == wire.ClassINET:
		if localAnswer(&o, name) {
			return o
		}
	}
	for i := range r.templates {
		if r.templates[i].answer(&o, client.Address, name) {
			return o
		}
	}
	if r.hosts != nil {
		r.hosts.answer(&o, name)
	}
	return o
}

// Undo makes a reply to the Request one to the client's query: what rewrite has
// changed is changed back. The question of a reply is the client's already.
func (r *Rules) Undo(o Outcome, reply *wire.Msg) {
	for i := len(o.undo) - 1; i >= 0; i-- {
		o.undo[i](reply)
	}
	if r.minimal && len(reply.Answer) > 0 {
		// Of a negative answer the SOA record is needed (RFC 2308).
		reply.Ns, reply.Extra = nil, keepOPT(reply.Extra)
	}
}

func keepOPT(extra []wire.RR) []wire.RR {
	for _, rr := range extra {
		if rr.Header().Rrtype == wire.TypeOPT {
			return []wire.RR{rr}
		}
	}
	return nil
}

// reply begins a Reply of a directive.
func (o *Outcome) reply(by string, rcode int) {
	o.By = by
	o.Reply = new(wire.Msg)
	o.Reply.SetRcode(o.Request, rcode)
	o.Reply.Authoritative = rcode == wire.RcodeSuccess || rcode == wire.RcodeNameError
}

func header(name string, qtype uint16, ttl uint32) wire.RR_Header {
	return wire.RR_Header{Name: name, Rrtype: qtype, Class: wire.ClassINET, Ttl: ttl}
}

// fold returns a name in lower case with its final dot.
func fold(name string) string { return wire.CanonicalName(name) }

// zoneOf returns the longest of some zones that a folded name is in.
func zoneOf(zones []string, name string) (string, bool) {
	best, found := "", false
	for _, zone := range zones {
		if wire.IsSubDomain(zone, name) && (!found || len(zone) > len(best)) {
			best, found = zone, true
		}
	}
	return best, found
}

// through reports whether a name goes on to the next directive.
func through(f corefile.Fallthrough, name string) bool {
	if !f.On || len(f.Zones) == 0 {
		return f.On
	}
	_, in := zoneOf(f.Zones, name)
	return in
}

// typeNumber reads a type's mnemonic.
func typeNumber(text string) (uint16, error) {
	if t, ok := wire.StringToType[strings.ToUpper(text)]; ok {
		return t, nil
	}
	if t, ok := dns.ParseType(text); ok {
		return uint16(t), nil
	}
	return 0, fmt.Errorf("%q is not a type of records; write for example A, AAAA, TXT or TYPE257", text)
}
