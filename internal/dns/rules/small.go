package rules

import (
	"net/netip"
	"strings"

	wire "github.com/miekg/dns"

	"github.com/fairlead-net/fairlead/internal/dns"
)

const (
	// anyTTL is the TTL of what type ANY gets, in seconds (RFC 8482, section 6, wants
	// it long).
	anyTTL = 8482
	// localTTL is that of names below localhost, as in CoreDNS.
	localTTL = 86400
)

// chaos is the directive chaos: what the server calls itself.
type chaos struct{ version, authors string }

func newChaos(args []string) *chaos {
	c := &chaos{version: "fairlead"}
	if len(args) > 0 {
		c.version, c.authors = args[0], strings.Join(args[1:], " ")
	}
	return c
}

func (c *chaos) answer(o *Outcome, name string) bool {
	text := map[string]string{
		"version.bind.": c.version, "version.server.": c.version, "authors.bind.": c.authors,
		// The host's name is nobody's business.
		"hostname.bind.": "localhost", "id.server.": "localhost",
	}[name]
	asked := o.Request.Question[0]
	if text == "" || asked.Qtype != wire.TypeTXT {
		return false
	}
	o.reply("chaos", wire.RcodeSuccess)
	h := wire.RR_Header{Name: asked.Name, Rrtype: wire.TypeTXT, Class: wire.ClassCHAOS}
	o.Reply.Answer = []wire.RR{&wire.TXT{Hdr: h, Txt: []string{text}}}
	return true
}

// localAnswer answers for localhost, names below it, and the loopback addresses
// (RFC 6761, section 6.3).
func localAnswer(o *Outcome, name string) bool {
	asked := o.Request.Question[0]
	address, isReverse := dns.ReverseAddress(name)
	switch {
	case wire.IsSubDomain("localhost.", name):
		o.reply("local", wire.RcodeSuccess)
		for _, a := range []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()} {
			if rr := addressRecord(asked, a, localTTL); rr != nil {
				o.Reply.Answer = append(o.Reply.Answer, rr)
			}
		}
	case asked.Qtype == wire.TypePTR && isReverse && address.IsLoopback():
		o.reply("local", wire.RcodeSuccess)
		o.Reply.Answer = []wire.RR{&wire.PTR{Hdr: header(asked.Name, wire.TypePTR, localTTL), Ptr: "localhost."}}
	default:
		return false
	}
	if len(o.Reply.Answer) == 0 {
		soa := &wire.SOA{
			Hdr: header("localhost.", wire.TypeSOA, localTTL), Ns: "localhost.", Mbox: "root.localhost.",
			Serial: 1, Refresh: localTTL, Retry: localTTL, Expire: localTTL, Minttl: localTTL,
		}
		o.Reply.Ns = []wire.RR{soa}
	}
	return true
}
