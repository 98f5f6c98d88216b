package rules

import (
	"encoding/binary"
	"net/netip"
	"slices"

	wire "github.com/miekg/dns"

	"github.com/fairlead-net/fairlead/internal/dns/corefile"
)

// options is what rules have made of the options of a query (RFC 6891, section 6.1.2).
type options struct {
	// touched are the codes of those that rules are about. They alone go to other
	// servers and come back from there; the rest is between neighbours.
	touched []uint16
	// reverts undo in the options of a reply what rules have done.
	reverts []func([]wire.EDNS0) []wire.EDNS0
	// heard are those of another server's reply, nil if it was not asked or has none.
	heard []wire.EDNS0
}

// optionRule is one directive rewrite edns0.
type optionRule struct {
	corefile.OptionRule
	code uint16
}

func newOptionRule(c *corefile.OptionRule) *optionRule {
	if c == nil {
		return nil
	}
	code := map[string]uint16{"local": c.Code, "nsid": wire.EDNS0NSID, "subnet": wire.EDNS0SUBNET}[c.Kind]
	return &optionRule{*c, code}
}

// apply does to the Request's options, in a copy, what the README of CoreDNS's
// plugin/rewrite says, and reports whether the rule is for them.
func (r *optionRule) apply(o *Outcome, client Client) bool {
	opt := o.ownOPT()
	o.options.touched = append(o.options.touched, r.code)
	if r.Action == "unset" {
		opt.Option = slices.DeleteFunc(opt.Option, r.is)
		return true
	}
	made := r.option(o.Request.Question[0], client)
	if made == nil {
		return false
	}
	at := slices.IndexFunc(opt.Option, r.is)
	switch {
	case at >= 0 && r.Action != "append":
		before := opt.Option[at]
		opt.Option[at] = made
		// A client must not have a second one taken for what the rule says.
		opt.Option = slices.DeleteFunc(opt.Option, func(option wire.EDNS0) bool { return r.is(option) && option != made })
		r.revert(o, func(all []wire.EDNS0) []wire.EDNS0 {
			if at := slices.IndexFunc(all, r.is); at >= 0 {
				all[at] = before
			}
			return all
		})
	case at < 0 && r.Action != "replace":
		opt.Option = append(opt.Option, made)
		r.revert(o, func(all []wire.EDNS0) []wire.EDNS0 { return slices.DeleteFunc(all, r.is) })
	default:
		return false
	}
	return true
}

func (r *optionRule) is(option wire.EDNS0) bool { return option.Option() == r.code }

func (r *optionRule) revert(o *Outcome, undo func([]wire.EDNS0) []wire.EDNS0) {
	if r.Revert {
		o.options.reverts = append(o.options.reverts, undo)
	}
}

// option makes the option, or returns nil if what it is made of is not known.
func (r *optionRule) option(asked wire.Question, client Client) wire.EDNS0 {
	switch {
	case r.Kind == "nsid":
		return &wire.EDNS0_NSID{Code: r.code}
	case r.Kind == "subnet":
		return r.subnet(client.Address)
	case r.Variable == "":
		return &wire.EDNS0_LOCAL{Code: r.code, Data: r.Data}
	}
	data := variable(r.Variable, asked, client)
	if data == nil {
		return nil
	}
	return &wire.EDNS0_LOCAL{Code: r.code, Data: data}
}

// subnet tells the first bits of a client's address (RFC 7871, section 6).
func (r *optionRule) subnet(client netip.Addr) wire.EDNS0 {
	family, bits := uint16(1), r.Bits4
	if !client.Is4() {
		family, bits = 2, r.Bits6
	}
	prefix, err := client.WithZone("").Prefix(bits)
	if err != nil {
		return nil
	}
	return &wire.EDNS0_SUBNET{Code: r.code, Family: family, SourceNetmask: uint8(bits), Address: prefix.Addr().AsSlice()}
}

// variable returns what a variable stands for, as CoreDNS writes it: addresses and
// numbers in network order, names and words as text; nil if it is not known.
func variable(name string, asked wire.Question, client Client) []byte {
	switch name {
	case "{qname}":
		return []byte(asked.Name)
	case "{qtype}":
		return binary.BigEndian.AppendUint16(nil, asked.Qtype)
	case "{client_ip}":
		return client.Address.AsSlice()
	case "{client_port}":
		return binary.BigEndian.AppendUint16(nil, client.Port)
	case "{protocol}":
		return []byte(client.protocol())
	case "{server_ip}":
		return client.Server.Addr().AsSlice()
	case "{server_port}":
		if client.Server.IsValid() {
			return binary.BigEndian.AppendUint16(nil, client.Server.Port())
		}
	}
	return nil
}

// ownOPT returns the OPT record of the Request, which becomes a copy with one of its own.
func (o *Outcome) ownOPT() *wire.OPT {
	changed := *o.Request
	changed.Extra = slices.Clone(o.Request.Extra)
	o.Request = &changed
	for i, rr := range changed.Extra {
		if opt, ok := rr.(*wire.OPT); ok {
			own := *opt
			own.Option = slices.Clone(opt.Option)
			changed.Extra[i] = &own
			return &own
		}
	}
	own := &wire.OPT{Hdr: wire.RR_Header{Name: ".", Rrtype: wire.TypeOPT}}
	own.SetUDPSize(wire.MinMsgSize)
	changed.Extra = append(changed.Extra, own)
	return own
}

// Options returns, in wire form, the options that go to other servers with the Request;
// usually none. Those that are too large, which no rule makes, are left out.
func (o *Outcome) Options() string {
	var all []byte
	for _, option := range o.options.of(o.Request) {
		record := &wire.OPT{Hdr: wire.RR_Header{Name: ".", Rrtype: wire.TypeOPT}, Option: []wire.EDNS0{option}}
		buffer := make([]byte, wire.Len(record)+optHeader)
		end, err := wire.PackRR(record, buffer, 0, nil, false)
		if size := end - optHeader; err == nil && size <= maxOption && len(all)+size <= maxOptions {
			all = append(all, buffer[optHeader:end]...)
		}
	}
	return string(all)
}

// optHeader is the size of an OPT record without options.
const optHeader = 11

// maxOption bounds one option that goes to other servers, with its head, and maxOptions
// all of them: they are in the cache's keys, and clients have a say in some.
const (
	maxOption  = 4 + 255
	maxOptions = 1024
)

// of returns the touched options of a message.
func (s *options) of(m *wire.Msg) []wire.EDNS0 {
	if len(s.touched) == 0 {
		return nil
	}
	var all []wire.EDNS0
	if opt := m.IsEdns0(); opt != nil {
		for _, option := range opt.Option {
			if slices.Contains(s.touched, option.Option()) {
				all = append(all, option)
			}
		}
	}
	return all
}

// Hear notes what another server's reply says in the options that rules are about.
func (o *Outcome) Hear(reply *wire.Msg) {
	if len(o.options.touched) > 0 && reply.IsEdns0() != nil {
		o.options.heard = append([]wire.EDNS0{}, o.options.of(reply)...)
	}
}

// Echo returns the options that the reply to the client has by the rules: those that
// another server's reply has, or else the local ones of the Request, without what is to
// be reverted. The caller may change the slice, but not the options.
func (o *Outcome) Echo() []wire.EDNS0 {
	if len(o.options.touched) == 0 {
		return nil
	}
	all := o.options.heard
	if all == nil {
		all = slices.DeleteFunc(o.options.of(o.Request), func(option wire.EDNS0) bool {
			_, local := option.(*wire.EDNS0_LOCAL)
			return !local
		})
	}
	for _, undo := range slices.Backward(o.options.reverts) {
		all = undo(all)
	}
	return all
}
