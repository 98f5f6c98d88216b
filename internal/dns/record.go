package dns

import (
	"net/netip"
	"strconv"
	"strings"
)

// Type is the type of a record or of a question (RFC 1035, section 3.2.2).
type Type uint16

// The types that this package knows by name.
const (
	TypeA     Type = 1
	TypeNS    Type = 2
	TypeCNAME Type = 5
	TypeSOA   Type = 6
	TypePTR   Type = 12
	TypeHINFO Type = 13
	TypeMX    Type = 15
	TypeTXT   Type = 16
	TypeAAAA  Type = 28
	TypeSRV   Type = 33
	TypeOPT   Type = 41
	TypeHTTPS Type = 65
	TypeTKEY  Type = 249
	TypeTSIG  Type = 250
	TypeIXFR  Type = 251
	TypeAXFR  Type = 252
	TypeMAILB Type = 253
	TypeMAILA Type = 254
	TypeANY   Type = 255
)

// String returns the type's mnemonic, or TYPEn (RFC 3597).
func (t Type) String() string {
	switch t {
	case TypeA:
		return "A"
	case TypeNS:
		return "NS"
	case TypeCNAME:
		return "CNAME"
	case TypeSOA:
		return "SOA"
	case TypePTR:
		return "PTR"
	case TypeHINFO:
		return "HINFO"
	case TypeMX:
		return "MX"
	case TypeTXT:
		return "TXT"
	case TypeAAAA:
		return "AAAA"
	case TypeSRV:
		return "SRV"
	case TypeHTTPS:
		return "HTTPS"
	case TypeIXFR:
		return "IXFR"
	case TypeAXFR:
		return "AXFR"
	case TypeANY:
		return "ANY"
	}
	return "TYPE" + strconv.Itoa(int(t))
}

// ParseType returns the type of a mnemonic, in any case, or of TYPEn.
func ParseType(text string) (Type, bool) {
	text = strings.ToUpper(text)
	if number, ok := strings.CutPrefix(text, "TYPE"); ok {
		n, err := strconv.ParseUint(number, 10, 16)
		return Type(n), err == nil && n > 0
	}
	for t := range Type(256) {
		if t.String() == text {
			return t, true
		}
	}
	return 0, false
}

// MarshalText makes types readable in JSON and YAML.
func (t Type) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// Class is the class of a question.
type Class uint16

// ClassIN is the Internet, the only class with names in a cluster.
const ClassIN Class = 1

// Rcode is a response code (RFC 1035, section 4.1.1).
type Rcode uint8

// The response codes that this package gives.
const (
	NoError  Rcode = 0
	ServFail Rcode = 2
	NXDomain Rcode = 3
	Refused  Rcode = 5
)

// String returns the code's mnemonic.
func (r Rcode) String() string {
	switch r {
	case NoError:
		return "NOERROR"
	case ServFail:
		return "SERVFAIL"
	case NXDomain:
		return "NXDOMAIN"
	case Refused:
		return "REFUSED"
	}
	return "RCODE" + strconv.Itoa(int(r))
}

// MarshalText makes response codes readable in JSON and YAML.
func (r Rcode) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// Record is one resource record of class IN. Names are absolute: they end with
// a dot. Which fields count depends on the Type.
type Record struct {
	Name string `json:"name"`
	Type Type   `json:"type"`
	TTL  uint32 `json:"ttl"` // seconds
	// Address is that of an A or AAAA record.
	Address netip.Addr `json:"address,omitzero"`
	// Target is what a CNAME, NS, PTR or SRV record points to, and the primary
	// server of a SOA record.
	Target string `json:"target,omitempty"`
	// Weight and Port are those of an SRV record; its priority is always zero.
	Weight uint16 `json:"weight,omitempty"`
	Port   uint16 `json:"port,omitempty"`
	// Text is the only string of a TXT record and the CPU of a HINFO record.
	Text string `json:"text,omitempty"`
	SOA  *SOA   `json:"soa,omitempty"`
}

// SOA is what a SOA record says beside its primary server; intervals are in
// seconds (RFC 1035, section 3.3.13).
type SOA struct {
	Mailbox string `json:"mailbox"`
	Serial  uint32 `json:"serial"`
	Refresh uint32 `json:"refresh"`
	Retry   uint32 `json:"retry"`
	Expire  uint32 `json:"expire"`
	// Minimum is how long a negative answer may be kept (RFC 2308).
	Minimum uint32 `json:"minimum"`
}

// String returns the record as a zone file writes it.
func (r Record) String() string {
	head := r.Name + " " + strconv.Itoa(int(r.TTL)) + " IN " + r.Type.String() + " "
	switch r.Type {
	case TypeA, TypeAAAA:
		return head + r.Address.String()
	case TypeSRV:
		return head + "0 " + strconv.Itoa(int(r.Weight)) + " " + strconv.Itoa(int(r.Port)) + " " + r.Target
	case TypeTXT:
		return head + strconv.Quote(r.Text)
	case TypeHINFO:
		return head + strconv.Quote(r.Text) + ` ""`
	case TypeSOA:
		head += r.Target + " " + r.SOA.Mailbox
		for _, n := range []uint32{r.SOA.Serial, r.SOA.Refresh, r.SOA.Retry, r.SOA.Expire, r.SOA.Minimum} {
			head += " " + strconv.FormatUint(uint64(n), 10)
		}
		return head
	}
	return head + r.Target
}
