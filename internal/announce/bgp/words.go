package bgp

import (
	"context"
	"fmt"
	"os"
	"strings"
	"syscall"
	"unicode"
	"unicode/utf8"

	wire "github.com/osrg/gobgp/v4/pkg/packet/bgp"
)

// maxQuote is how much of a router's own words is passed on.
const maxQuote = 128

// notification is why one end ends a session (RFC 4271, section 4.5).
type notification struct {
	code, subcode uint8
	data          []byte
}

// String says what a NOTIFICATION means, in the words of RFC 4271, section 6,
// RFC 4486 and RFC 8538, and what its sender adds (RFC 9003).
func (n notification) String() string {
	if n.code == wire.BGP_ERROR_CEASE && n.subcode == wire.BGP_ERROR_SUB_HARD_RESET && len(n.data) >= 2 {
		n = notification{n.data[0], n.data[1], n.data[2:]}
	}
	text := n.meaning()
	if n.code == wire.BGP_ERROR_CEASE && (n.subcode == wire.BGP_ERROR_SUB_ADMINISTRATIVE_SHUTDOWN || n.subcode == wire.BGP_ERROR_SUB_ADMINISTRATIVE_RESET) {
		if said := communication(n.data); said != "" {
			text += ", " + said
		}
	}
	return text
}

func (n notification) meaning() string {
	known := map[[2]uint8]string{
		{1, 1}: "connection not synchronised", {1, 2}: "bad message length", {1, 3}: "bad message type",
		{2, 1}: "unsupported BGP version", {2, 2}: "wrong AS number", {2, 3}: "bad router ID",
		{2, 4}: "unsupported optional parameter", {2, 5}: "authentication failed", {2, 6}: "unacceptable hold time",
		{2, 7}: "unsupported capability", {2, 11}: "role mismatch",
		{3, 1}: "malformed attribute list", {3, 2}: "unrecognised well-known attribute", {3, 3}: "missing well-known attribute",
		{3, 4}: "wrong attribute flags", {3, 5}: "wrong attribute length", {3, 6}: "invalid origin",
		{3, 8}: "invalid next hop", {3, 9}: "wrong optional attribute", {3, 10}: "invalid network field", {3, 11}: "malformed AS path",
		{6, 1}: "too many prefixes", {6, 2}: "administrative shutdown", {6, 3}: "peer removed from the configuration",
		{6, 4}: "administrative reset", {6, 5}: "connection rejected", {6, 6}: "configuration changed",
		{6, 7}: "two connections at once", {6, 8}: "out of resources", {6, 9}: "hard reset", {6, 10}: "BFD down",
	}
	if text, ok := known[[2]uint8{n.code, n.subcode}]; ok {
		return text
	}
	switch n.code {
	case wire.BGP_ERROR_MESSAGE_HEADER_ERROR:
		return "bad message header"
	case wire.BGP_ERROR_OPEN_MESSAGE_ERROR:
		return "bad OPEN message"
	case wire.BGP_ERROR_UPDATE_MESSAGE_ERROR:
		return "bad UPDATE message"
	case wire.BGP_ERROR_HOLD_TIMER_EXPIRED:
		return "hold timer expired"
	case wire.BGP_ERROR_FSM_ERROR:
		return "message not expected in this state"
	case wire.BGP_ERROR_CEASE:
		return "cease"
	}
	return fmt.Sprintf("error %d, subcode %d", n.code, n.subcode)
}

// communication returns what an administrator gave as the reason (RFC 9003), safe to
// print.
func communication(data []byte) string {
	if len(data) == 0 || int(data[0]) > len(data)-1 {
		return ""
	}
	return quote(string(data[1 : 1+int(data[0])]))
}

// quote passes on what a router says of itself.
func quote(said string) string {
	if said = printable(said); said == "" {
		return ""
	}
	return fmt.Sprintf("saying %q", said)
}

// printable leaves out what must not reach a terminal, and cuts what is long.
func printable(text string) string {
	text = strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, text)
	if len(text) > maxQuote {
		text = strings.ToValidUTF8(text[:maxQuote], "") + "…"
	}
	return text
}

// received says that the router has ended the session, and what to do.
func (n notification) received(w wanted) string {
	text := "the router closed the session: " + n.String()
	switch [2]uint8{n.code, n.subcode} {
	case [2]uint8{wire.BGP_ERROR_OPEN_MESSAGE_ERROR, wire.BGP_ERROR_SUB_BAD_PEER_AS}:
		text += fmt.Sprintf("; it expects another AS number of this node than spec.myASN, %d: correct one of them", w.ASN)
	case [2]uint8{wire.BGP_ERROR_OPEN_MESSAGE_ERROR, wire.BGP_ERROR_SUB_BAD_BGP_IDENTIFIER}:
		text += "; another machine may have the same router ID as this node: set spec.routerID"
	case [2]uint8{wire.BGP_ERROR_CEASE, wire.BGP_ERROR_SUB_CONNECTION_REJECTED}:
		text += "; this node's address may be missing among the router's neighbours"
	case [2]uint8{wire.BGP_ERROR_CEASE, wire.BGP_ERROR_SUB_MAXIMUM_NUMBER_OF_PREFIXES_REACHED}:
		text += "; it takes fewer routes than it is told: raise its limit, or announce fewer, longer spec.aggregationLength"
	}
	return text
}

// sent says that this end has ended the session.
func (n notification) sent() string {
	switch n.code {
	case wire.BGP_ERROR_HOLD_TIMER_EXPIRED:
		return "closed the session: hold timer expired, that is, the router sent nothing for so long: look whether it is overloaded, and whether packets get lost"
	case wire.BGP_ERROR_MESSAGE_HEADER_ERROR, wire.BGP_ERROR_UPDATE_MESSAGE_ERROR:
		return "closed the session: the router sent something that is not BGP as RFC 4271 has it (" + n.String() + ")"
	case wire.BGP_ERROR_OPEN_MESSAGE_ERROR:
		return "closed the session: the router's OPEN message cannot be accepted: " + n.String()
	case wire.BGP_ERROR_FSM_ERROR:
		return "the router refused the session before it was up"
	}
	return "closed the session: " + n.String()
}

// crowd says that a router sends too much.
func crowd() string {
	return fmt.Sprintf("closed the session for %s: the router sent more than %d routes of a family, none of which this node takes; let it send none to this neighbour, by an export filter", crowdHold, maxPrefixes)
}

// unreachable says why no TCP connection could be made, of what the system says.
func unreachable(system string, w wanted, at string) string {
	says := func(e error) bool { return strings.Contains(system, e.Error()) }
	switch {
	case says(syscall.ECONNREFUSED):
		return fmt.Sprintf("nothing listens at %s: look whether BGP runs on the router, and at spec.peerPort", at)
	case says(syscall.EHOSTUNREACH), says(syscall.ENETUNREACH):
		return fmt.Sprintf("there is no way to %s: look whether the router is up, and at the node's routes", at)
	case says(syscall.EADDRNOTAVAIL):
		return fmt.Sprintf("spec.sourceAddress %s is not an address of this node: correct it, or restrict spec.nodeSelectors", w.Source)
	case says(os.ErrDeadlineExceeded), says(context.DeadlineExceeded), says(syscall.ETIMEDOUT):
		return silence(w, at)
	}
	return fmt.Sprintf("cannot connect to %s: %s", at, system)
}

// silence says what no answer may mean: a segment with a wrong signature is dropped
// without a word (RFC 2385, section 2).
func silence(w wanted, at string) string {
	text := fmt.Sprintf("no answer from %s: look whether the router is up and firewalls let TCP port %d pass", at, w.Port)
	if w.password != "" {
		return text + "; a wrong MD5 key looks just like this, so check spec.password or spec.passwordSecret against the router's"
	}
	return text + "; a router that demands an MD5 key, which this BGPPeer does not have, looks just like this"
}
