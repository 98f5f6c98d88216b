package dns

import (
	"net/netip"
	"strings"
)

// Answer is what a server must reply to a Question.
type Answer struct {
	// Forward is set if the name is none of the cluster's: the question goes to
	// another server as it is, and the other fields are empty.
	Forward       bool  `json:"forward,omitempty"`
	Rcode         Rcode `json:"rcode"`
	Authoritative bool  `json:"authoritative,omitempty"`

	Answer     []Record `json:"answer,omitempty"`
	Authority  []Record `json:"authority,omitempty"`
	Additional []Record `json:"additional,omitempty"`
	// Chase is the name outside of the cluster at which the aliases in Answer
	// end: the server asks another server for it, with the type of the Question,
	// and adds what it gets. Empty if there is nothing to add.
	Chase string `json:"chase,omitempty"`
	// Error says more about an Rcode than its number can.
	Error *ExtendedError `json:"error,omitempty"`
}

// ExtendedError is an extended DNS error (RFC 8914).
type ExtendedError struct {
	Code uint16 `json:"code"`
	Text string `json:"text"`
}

// The extended errors that this package and its server give (RFC 8914, section 4).
const (
	ErrorOther            uint16 = 0
	ErrorNotReady         uint16 = 14
	ErrorNotAuthoritative uint16 = 20
	ErrorNotSupported     uint16 = 21
	ErrorNetwork          uint16 = 23
)

// maxAliases is how many aliases of the cluster are followed for one question.
const maxAliases = 10

// reply is an Answer being made.
type reply struct {
	Answer
	table *Table
	asked Question
	zone  *zone // of the name that is looked at
	// trace collects an explanation if it is not nil.
	trace *[]string
}

// Answer returns what to reply to a Question.
func (t Table) Answer(q Question) Answer {
	r := reply{table: &t, asked: q}
	r.make()
	return r.Answer
}

// Explain returns the same as Answer, and how it came about, in words.
func (t Table) Explain(q Question) (Answer, []string) {
	var trace []string
	r := reply{table: &t, asked: q, trace: &trace}
	r.make()
	return r.Answer, trace
}

func (r *reply) say(about, text string) {
	if r.trace != nil {
		*r.trace = append(*r.trace, about+": "+text)
	}
}

func (r *reply) make() {
	switch {
	case r.asked.Class != ClassIN:
		r.refuse("only class IN is served")
		return
	case r.asked.Type == TypeAXFR || r.asked.Type == TypeIXFR:
		r.refuse("zone transfers are not served")
		return
	case r.asked.Type == TypeOPT || r.asked.Type >= TypeTKEY && r.asked.Type != TypeANY && r.asked.Type <= TypeMAILA:
		r.refuse("no name holds data of this type")
		return
	}
	name := fold(r.asked.Name)
	if zone, relative := r.table.authority(name); zone != nil {
		r.Authoritative = true
		r.follow(zone, r.asked.Name, relative)
		return
	}
	if address, zone, ok := reverseAddress(name); ok {
		r.reverse(address, zone)
		return
	}
	r.say(r.asked.Name, "not in "+r.table.config.Domain+" nor the address of a Service or an endpoint: forwarded")
	r.Forward = true
}

func (r *reply) refuse(text string) {
	r.say(r.asked.Type.String(), text+": REFUSED")
	r.Rcode, r.Error = Refused, &ExtendedError{ErrorNotSupported, text}
}

// follow answers for a name in one of the zones: owner is the name as it appears
// in records, relative the same in front of the zone in lower case.
func (r *reply) follow(zone *zone, owner, relative string) {
	for range maxAliases {
		r.zone = zone
		n := r.table.locate(zone, relative)
		r.say(owner, n.why)
		if n.kind != alias {
			r.records(owner, n)
			return
		}
		if r.asked.Type != TypeA && r.asked.Type != TypeAAAA {
			r.aliasOnly(owner, n)
			return
		}
		r.add(Record{Name: absolute(owner), Type: TypeCNAME, TTL: zone.ttl, Target: n.target + "."})
		if zone, relative = r.table.authority(n.target); zone == nil {
			r.say(n.target, "outside of the cluster: asked from other servers")
			r.Chase = n.target + "."
			return
		}
		owner = n.target + "."
	}
	r.say(owner, "too many aliases in a row, probably in a circle: SERVFAIL")
	r.Answer.Answer = nil
	r.Rcode, r.Error = ServFail, &ExtendedError{ErrorOther, "Services of type ExternalName point to each other, or more than 10 follow in a row"}
}

// aliasOnly answers types other than A and AAAA for a Service that stands for
// another name: like CoreDNS, without looking at the target.
func (r *reply) aliasOnly(owner string, n node) {
	switch r.asked.Type {
	case TypeCNAME:
		r.add(Record{Name: absolute(owner), Type: TypeCNAME, TTL: r.zone.ttl, Target: n.target + "."})
	case TypeANY:
		r.any(owner)
	default:
		r.negative(NoError, r.zone.domain)
	}
}

// records answers from a node that is no alias.
func (r *reply) records(owner string, n node) {
	if n.kind == absent || n.kind == missed {
		r.missing(owner, n)
		return
	}
	owner = absolute(owner)
	switch {
	case r.asked.Type == TypeANY && n.kind != empty:
		r.any(owner)
	case n.kind == apex && r.asked.Type == TypeSOA:
		r.add(r.soa(r.zone.domain))
		r.Answer.Answer[0].Name = owner
	case n.kind == apex && r.asked.Type == TypeNS:
		r.nameServers(owner)
	case n.kind == version && r.asked.Type == TypeTXT:
		r.add(Record{Name: owner, Type: TypeTXT, TTL: versionTTL, Text: r.zone.version()})
	case n.kind == server:
		r.addresses(owner, n.addresses)
	case n.kind == pod:
		r.addresses(owner, []netip.Addr{n.address})
	case n.kind == whole || n.kind == portion || n.kind == endpoint:
		if r.asked.Type == TypeSRV {
			r.services(owner, n)
		} else {
			r.serviceAddresses(owner, n)
		}
	}
	if len(r.Answer.Answer) == 0 || r.Answer.Answer[len(r.Answer.Answer)-1].Type == TypeCNAME {
		r.say(owner, "no data of type "+r.asked.Type.String())
		r.negative(NoError, r.zone.domain)
	}
}

// missing answers for a name that does not exist, or is not known yet.
func (r *reply) missing(owner string, n node) {
	switch {
	case !r.table.Synced:
		r.notSynced()
	case n.kind == missed || !r.zone.passes(fold(owner)):
		r.negative(NXDomain, r.zone.domain)
	case len(r.Answer.Answer) > 0:
		r.say(owner, "not a name of this cluster: asked from other servers")
		r.Chase = absolute(owner)
	default:
		r.say(owner, "not a name of this cluster: forwarded")
		r.Answer = Answer{Forward: true}
	}
}

func (r *reply) notSynced() {
	r.say(r.table.config.Domain, "the objects of the cluster have not all arrived yet: SERVFAIL")
	r.Answer = Answer{Rcode: ServFail, Error: &ExtendedError{ErrorNotReady, "the objects of the cluster have not all arrived yet"}}
}

// negative adds the SOA record that tells how long to keep a negative answer
// (RFC 2308, section 3).
func (r *reply) negative(rcode Rcode, zone string) {
	r.Rcode = rcode
	r.Authority = append(r.Authority, r.soa(zone))
}

// any answers type ANY without giving all there is (RFC 8482, section 4.2).
func (r *reply) any(owner string) {
	r.add(Record{Name: absolute(owner), Type: TypeHINFO, TTL: r.zone.ttl, Text: "RFC8482"})
}

func (r *reply) add(records ...Record) { r.Answer.Answer = append(r.Answer.Answer, records...) }

// addresses adds an A or AAAA record, whichever was asked for, per address.
func (r *reply) addresses(owner string, addresses []netip.Addr) {
	for _, address := range addresses {
		if record := r.address(owner, address); record.Type == r.asked.Type {
			r.add(record)
		}
	}
}

func (r *reply) address(owner string, address netip.Addr) Record {
	record := Record{Name: owner, Type: TypeAAAA, TTL: r.zone.ttl, Address: address}
	if address.Is4() {
		record.Type = TypeA
	}
	return record
}

// absolute returns a name with its final dot.
func absolute(name string) string {
	if strings.HasSuffix(name, ".") {
		return name
	}
	return name + "."
}
