package server

import (
	"cmp"
	"encoding/hex"
	"slices"

	wire "github.com/miekg/dns"

	"github.com/fairlead-net/fairlead/internal/dns"
	"github.com/fairlead-net/fairlead/internal/dns/rules"
)

// options is what a client says about itself in its OPT record (RFC 6891).
type options struct {
	present bool
	version uint8
	size    int
	do      bool
	// malformed is set if there are several OPT records or cookies, or a cookie
	// of a size that there is not.
	malformed bool
	cookie    cookie
	// nsid is set if the client asks for the server's name (RFC 5001), server is what
	// it is told.
	nsid   bool
	server string
}

// name sets what the client is told of the server's name, if it has asked and the
// server says; host is the name of its host.
func (o *options) name(r *rules.Rules, host string) {
	if text, says := r.NSID(); says && o.nsid {
		o.server = cmp.Or(text, host)
	}
}

func readOptions(request *wire.Msg) options {
	var o options
	for _, rr := range request.Extra {
		opt, ok := rr.(*wire.OPT)
		if !ok {
			continue
		}
		o.malformed = o.malformed || o.present
		o.present = true
		o.version, o.size, o.do = opt.Version(), int(opt.UDPSize()), opt.Do()
		for _, option := range opt.Option {
			switch sent := option.(type) {
			case *wire.EDNS0_COOKIE:
				o.malformed = !o.readCookie(sent) || o.malformed
			case *wire.EDNS0_NSID:
				o.nsid = true
			}
		}
	}
	return o
}

// readCookie takes in the only cookie of a query.
func (o *options) readCookie(sent *wire.EDNS0_COOKIE) (ok bool) {
	data, err := hex.DecodeString(sent.Cookie)
	if err != nil || o.cookie.present {
		return false
	}
	o.cookie, ok = readCookie(data)
	return ok
}

// limit returns how large a reply over UDP may be.
func (o options) limit(maxUDP int) int {
	if !o.present {
		return wire.MinMsgSize
	}
	return min(max(o.size, wire.MinMsgSize), maxUDP)
}

// add gives a reply the OPT record that a client which sent one expects. An
// extended error is left out for clients that could not read it; a cookie is
// the text of the one to send, if any.
func (o options) add(reply *wire.Msg, maxUDP int, extended *dns.ExtendedError, cookie string) {
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
	if cookie != "" {
		opt.Option = append(opt.Option, &wire.EDNS0_COOKIE{Code: wire.EDNS0COOKIE, Cookie: cookie})
	}
	if o.server != "" {
		opt.Option = append(opt.Option, &wire.EDNS0_NSID{Code: wire.EDNS0NSID, Nsid: hex.EncodeToString([]byte(o.server))})
	}
	reply.Extra = append(reply.Extra, opt)
}

// echo gives a reply the options that rules want in it, if its client knows options.
// Those that this server has given it, and cookies, are not for rules to change.
func (x *exchange) echo(reply *wire.Msg) {
	opt := reply.IsEdns0()
	if opt == nil {
		return
	}
	for _, option := range x.outcome.Echo() {
		code := option.Option()
		if code != wire.EDNS0COOKIE && !slices.ContainsFunc(opt.Option, func(said wire.EDNS0) bool { return said.Option() == code }) {
			opt.Option = append(opt.Option, option)
		}
	}
}
