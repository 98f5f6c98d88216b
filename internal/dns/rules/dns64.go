package rules

import (
	"net/netip"

	wire "github.com/miekg/dns"
)

// NeedsA reports whether a reply to a query for IPv6 addresses is to be completed
// from the name's IPv4 addresses: ask for these as A returns it, and give what comes
// of it to Translate (RFC 6147, section 5.1).
func (r *Rules) NeedsA(client netip.Addr, request, reply *wire.Msg) bool {
	if r.dns64 == nil || client.Is4() && !r.dns64.AllowIPv4 {
		return false
	}
	asked := request.Question[0]
	if asked.Qtype != wire.TypeAAAA || asked.Qclass != wire.ClassINET || reply.Rcode == wire.RcodeNameError || request.CheckingDisabled {
		return false
	}
	if r.dns64.TranslateAll {
		return true
	}
	for _, rr := range reply.Answer {
		// Mapped addresses do not count (section 5.1.4).
		if aaaa, ok := rr.(*wire.AAAA); ok {
			if a, ok := netip.AddrFromSlice(aaaa.AAAA.To16()); ok && !a.Is4In6() {
				return false
			}
		}
	}
	return true
}

// A returns the query for IPv4 addresses in place of one for IPv6 addresses.
func A(request *wire.Msg) *wire.Msg {
	changed := *request
	changed.Question = []wire.Question{request.Question[0]}
	changed.Question[0].Qtype = wire.TypeA
	return &changed
}

// Translate puts addresses made of those in the answer to A into a reply, with the
// aliases that lead there. A reply stays as it is if there are none.
func (r *Rules) Translate(reply, of *wire.Msg) {
	negative := uint32(600) // section 5.1.7, if there is no SOA record
	for _, rr := range reply.Ns {
		if soa, ok := rr.(*wire.SOA); ok {
			negative = min(soa.Hdr.Ttl, soa.Minttl)
		}
	}
	var answer []wire.RR
	found := false
	for _, rr := range of.Answer {
		switch rr := rr.(type) {
		case *wire.A:
			address, ok := netip.AddrFromSlice(rr.A.To4())
			if !ok {
				continue
			}
			h := header(rr.Hdr.Name, wire.TypeAAAA, min(rr.Hdr.Ttl, negative))
			answer, found = append(answer, &wire.AAAA{Hdr: h, AAAA: embed(r.dns64.Prefix, address).AsSlice()}), true
		case *wire.CNAME, *wire.DNAME:
			answer = append(answer, rr)
		}
	}
	if !found {
		return
	}
	reply.Answer, reply.Ns, reply.Rcode = answer, nil, of.Rcode
	reply.AuthenticatedData = false
}

// embed puts an IPv4 address behind a prefix; bits 64 to 71 stay zero (RFC 6052,
// section 2.2).
func embed(prefix netip.Prefix, address netip.Addr) netip.Addr {
	out, at := prefix.Masked().Addr().As16(), prefix.Bits()/8
	for _, b := range address.As4() {
		if at == 8 {
			at++
		}
		out[at] = b
		at++
	}
	return netip.AddrFrom16(out)
}
