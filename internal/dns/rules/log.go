package rules

import (
	"net/netip"
	"strconv"
	"strings"
	"time"

	wire "github.com/miekg/dns"

	"github.com/fairlead-net/fairlead/internal/dns/corefile"
)

// logging is one directive log.
type logging struct {
	zones   []string
	classes map[string]bool
	// parts are texts and, at odd places, words in braces.
	parts []string
}

// newLogging takes the format apart at the words in braces that it knows; others
// remain as they are.
func newLogging(c corefile.Log) logging {
	l := logging{zones: c.Zones, classes: map[string]bool{}, parts: []string{""}}
	for _, class := range c.Classes {
		l.classes[class] = true
	}
	rest := c.Format
	for {
		end := strings.IndexByte(rest, '}')
		if end < 0 {
			break
		}
		begin := strings.LastIndexByte(rest[:end], '{')
		last := len(l.parts) - 1
		if begin < 0 || !known(rest[begin:end+1]) {
			l.parts[last] += rest[:end+1]
		} else {
			l.parts[last] += rest[:begin]
			l.parts = append(l.parts, rest[begin:end+1], "")
		}
		rest = rest[end+1:]
	}
	l.parts[len(l.parts)-1] += rest
	return l
}

// known reports whether a word in braces stands for something.
func known(word string) bool {
	switch word {
	case "{remote}", "{port}", "{local}", "{type}", "{class}", "{name}", "{proto}", "{size}", "{rcode}", "{rsize}", "{duration}",
		"{>id}", "{>opcode}", "{>do}", "{>bufsize}", "{>rflags}":
		return true
	}
	return strings.HasPrefix(word, "{/")
}

// Exchange is a query with its reply, to be logged.
type Exchange struct {
	Client
	// Request is as it came, Reply as it goes; sizes are in bytes.
	Request, Reply         *wire.Msg
	RequestSize, ReplySize int
	Took                   time.Duration
}

// Client is who asks.
type Client struct {
	// Address is not mapped (netip.Addr.Unmap).
	Address netip.Addr
	Port    uint16
	// TCP is set for all that is carried by it.
	TCP bool
	// Server is where the query was sent to, not mapped either; it may be unknown.
	Server netip.AddrPort
}

func (c Client) protocol() string {
	if c.TCP {
		return "tcp"
	}
	return "udp"
}

// Logs reports whether there is a directive log.
func (r *Rules) Logs() bool { return len(r.logs) > 0 }

// Log returns the line to log about an exchange, as the README of CoreDNS's plugin/log
// describes it, or false if there is none: the first directive that has the name
// decides.
func (r *Rules) Log(e Exchange) (string, bool) {
	if len(r.logs) == 0 {
		return "", false
	}
	name := fold(e.Request.Question[0].Name)
	for _, l := range r.logs {
		if _, in := zoneOf(l.zones, name); !in {
			continue
		}
		if !l.classes["all"] && !l.classes[class(e.Reply)] {
			return "", false
		}
		return l.line(&e), true
	}
	return "", false
}

// line puts what is known of an exchange in the place of words in braces.
func (l *logging) line(e *Exchange) string {
	var b strings.Builder
	for i, part := range l.parts {
		if i%2 == 1 {
			part = e.value(part)
		}
		b.WriteString(part)
	}
	return b.String()
}

// value returns what a word in braces stands for; a dash if there is nothing.
func (e *Exchange) value(word string) string {
	if e.Reply != nil {
		return e.replied(word)
	}
	return e.asked(word)
}

// replied returns what a word stands for that is about the reply, or else the query.
func (e *Exchange) replied(word string) string {
	switch word {
	case "{rsize}":
		return strconv.Itoa(e.ReplySize)
	case "{duration}":
		return strconv.FormatFloat(e.Took.Seconds(), 'f', -1, 64) + "s"
	case "{rcode}":
		if text, ok := wire.RcodeToString[e.Reply.Rcode]; ok {
			return text
		}
		return strconv.Itoa(e.Reply.Rcode)
	case "{>rflags}":
		return flags(&e.Reply.MsgHdr)
	}
	return e.asked(word)
}

// asked returns what a word stands for that is about the query.
func (e *Exchange) asked(word string) string {
	question := e.Request.Question[0]
	switch word {
	case "{remote}":
		return bracketed(e.Address)
	case "{port}":
		return strconv.Itoa(int(e.Port))
	case "{local}":
		return bracketed(e.Server.Addr())
	case "{type}":
		return wire.Type(question.Qtype).String()
	case "{class}":
		return wire.Class(question.Qclass).String()
	case "{name}":
		return fold(question.Name)
	case "{proto}":
		return e.protocol()
	case "{size}":
		return strconv.Itoa(e.RequestSize)
	case "{>id}":
		return strconv.Itoa(int(e.Request.Id))
	case "{>opcode}":
		return strconv.Itoa(e.Request.Opcode)
	case "{>do}":
		opt := e.Request.IsEdns0()
		return strconv.FormatBool(opt != nil && opt.Do())
	case "{>bufsize}":
		return strconv.Itoa(e.room())
	}
	return "-"
}

// bracketed returns an address, with brackets if it is of IPv6; a dash if it is none.
func bracketed(a netip.Addr) string {
	switch {
	case !a.IsValid():
		return "-"
	case a.Is4():
		return a.String()
	}
	return "[" + a.String() + "]"
}

// room returns how large a reply the client takes.
func (e *Exchange) room() int {
	if e.TCP {
		return wire.MaxMsgSize
	}
	size := wire.MinMsgSize
	if opt := e.Request.IsEdns0(); opt != nil {
		size = max(size, int(opt.UDPSize()))
	}
	return size
}

// flags names those of a header that are set.
func flags(h *wire.MsgHdr) string {
	var set []string
	for _, f := range []struct {
		is   bool
		name string
	}{
		{h.Response, "qr"}, {h.Authoritative, "aa"}, {h.Truncated, "tc"}, {h.RecursionDesired, "rd"},
		{h.RecursionAvailable, "ra"}, {h.Zero, "z"}, {h.AuthenticatedData, "ad"}, {h.CheckingDisabled, "cd"},
	} {
		if f.is {
			set = append(set, f.name)
		}
	}
	return strings.Join(set, ",")
}

// class returns success, denial or error, as CoreDNS's plugin/pkg/response sorts
// replies.
func class(reply *wire.Msg) string {
	soa := false
	for _, rr := range reply.Ns {
		soa = soa || rr.Header().Rrtype == wire.TypeSOA
	}
	asked := reply.Question[0].Qtype
	switch {
	case reply.Opcode != wire.OpcodeQuery || asked == wire.TypeAXFR || asked == wire.TypeIXFR:
		return "error"
	case reply.Rcode == wire.RcodeSuccess && soa && len(reply.Answer) == 0, reply.Rcode == wire.RcodeNameError && soa:
		return "denial"
	case reply.Rcode == wire.RcodeSuccess:
		return "success"
	}
	return "error"
}
