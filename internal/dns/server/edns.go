package server

import (
	wire "github.com/miekg/dns"

	"github.com/fairlead-net/fairlead/internal/dns"
)

// options is what a client says about itself in its OPT record (RFC 6891).
type options struct {
	present bool
	version uint8
	size    int
	do      bool
	// repeated is set if there are several OPT records, which is malformed.
	repeated bool
}

func readOptions(request *wire.Msg) options {
	var o options
	for _, rr := range request.Extra {
		opt, ok := rr.(*wire.OPT)
		if !ok {
			continue
		}
		o.repeated = o.present
		o.present = true
		o.version, o.size, o.do = opt.Version(), int(opt.UDPSize()), opt.Do()
	}
	return o
}

// limit returns how large a reply over UDP may be.
func (o options) limit(maxUDP int) int {
	if !o.present {
		return wire.MinMsgSize
	}
	return min(max(o.size, wire.MinMsgSize), maxUDP)
}

// add gives a reply the OPT record that a client which sent one expects. An
// extended error is left out for clients that could not read it.
func (o options) add(reply *wire.Msg, maxUDP int, extended *dns.ExtendedError) {
	if !o.present {
		return
	}
	opt := &wire.OPT{Hdr: wire.RR_Header{Name: ".", Rrtype: wire.TypeOPT}}
	opt.SetUDPSize(uint16(maxUDP))
	if o.do {
		opt.SetDo()
	}
	if extended != nil {
		opt.Option = append(opt.Option, &wire.EDNS0_EDE{InfoCode: extended.Code, ExtraText: extended.Text})
	}
	reply.Extra = append(reply.Extra, opt)
}
