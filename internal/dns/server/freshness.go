package server

import wire "github.com/miekg/dns"

// freshness returns for how many seconds a reply may be kept by HTTP (RFC 8484, section
// 5.1): as long as the records of the answer may, or, if there are none, as RFC 2308,
// section 5, has it for negative answers. Failures are not to be kept.
func freshness(reply []byte) uint32 {
	m := new(wire.Msg)
	if err := m.Unpack(reply); err != nil || m.Truncated {
		return 0
	}
	if m.Rcode != wire.RcodeSuccess && m.Rcode != wire.RcodeNameError {
		return 0
	}
	least, found := uint32(0), false
	take := func(ttl uint32) {
		if !found || ttl < least {
			least, found = ttl, true
		}
	}
	for _, rr := range m.Answer {
		take(rr.Header().Ttl)
	}
	// Behind an alias, too, there can be nothing.
	for _, rr := range m.Ns {
		if soa, ok := rr.(*wire.SOA); ok {
			take(min(soa.Hdr.Ttl, soa.Minttl))
		}
	}
	return least
}
