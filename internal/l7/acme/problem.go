package acme

import (
	"context"
	"errors"
	"fmt"
	"strings"

	rfc8555 "github.com/mholt/acmez/v3/acme"
)

// outcome is how an order went.
type outcome string

const (
	issued      outcome = "issued"
	refused     outcome = "refused"     // this certificate cannot be had
	unavailable outcome = "unavailable" // nor could any other
	interrupted outcome = "interrupted" // this replica leads no more
)

// authorityError is one of talking to the authority.
type authorityError struct{ err error }

func (e authorityError) Error() string { return e.err.Error() }
func (e authorityError) Unwrap() error { return e.err }

// ofAuthority marks an error of a call of the library.
func ofAuthority(err error) error {
	if err == nil {
		return nil
	}
	return authorityError{err}
}

// localError is one that stands in the way of every order.
type localError struct{ err error }

func (e localError) Error() string { return e.err.Error() }
func (e localError) Unwrap() error { return e.err }

// challengeError is the authority's word on one host.
type challengeError struct {
	host string
	kind Challenge
	err  error
}

func (e challengeError) Error() string { return "host " + e.host + ": " + e.err.Error() }
func (e challengeError) Unwrap() error { return e.err }

// judge says what an error means for other orders, and in words what is wrong and what
// to do.
func judge(ctx context.Context, c Config, err error) (outcome, string) {
	var challenge challengeError
	var authority authorityError
	var local localError
	problem := problemOf(err)
	switch {
	case err == nil:
		return issued, ""
	case context.Cause(ctx) != nil:
		return interrupted, "the order was interrupted"
	case errors.As(err, &challenge):
		return refused, fmt.Sprintf("%s could not verify %s by %s: %s", c.Server, challenge.host, challenge.kind, advise(problem, err, challenge.kind))
	case errors.As(err, &local):
		return unavailable, plain(err.Error())
	case !errors.As(err, &authority):
		return refused, plain(err.Error())
	case problem == nil:
		return unavailable, fmt.Sprintf("%s cannot be used: %s; check that acme.server is right, and that it can be reached from the cluster", c.Server, plain(authority.err.Error()))
	}
	text := fmt.Sprintf("%s refuses: %s", c.Server, advise(problem, err, ""))
	if ofCertificate(problem) {
		return refused, text
	}
	return unavailable, text
}

// problemOf returns the authority's problem document (RFC 8555, section 6.7), nil if
// there is none.
func problemOf(err error) *rfc8555.Problem {
	var pointer *rfc8555.Problem
	var value rfc8555.Problem
	switch {
	case errors.As(err, &value) && value.Type+value.Detail != "":
		return &value
	case errors.As(err, &pointer) && pointer != nil:
		return pointer
	}
	return nil
}

// ofCertificate tells problems of what is ordered from those of who orders.
func ofCertificate(p *rfc8555.Problem) bool {
	if p.Status >= 500 {
		return false
	}
	switch p.Type {
	case rfc8555.ProblemTypeRejectedIdentifier, rfc8555.ProblemTypeUnsupportedIdentifier, rfc8555.ProblemTypeRateLimited,
		rfc8555.ProblemTypeCAA, rfc8555.ProblemTypeDNS, rfc8555.ProblemTypeConnection, rfc8555.ProblemTypeTLS,
		rfc8555.ProblemTypeIncorrectResponse, rfc8555.ProblemTypeCompound, rfc8555.ProblemTypeMalformed,
		rfc8555.ProblemTypeBadCSR, rfc8555.ProblemTypeOrderNotReady, rfc8555.ProblemTypeAlreadyReplaced:
		return true
	}
	return false
}

// advise returns the authority's words, and what to do; kind is the challenge that it
// is about, if it is.
func advise(p *rfc8555.Problem, err error, kind Challenge) string {
	if p == nil {
		return plain(err.Error())
	}
	text := plain(p.Detail)
	for i, sub := range p.Subproblems {
		if i == 3 {
			text += fmt.Sprintf("; and %d more", len(p.Subproblems)-i)
			break
		}
		text += "; " + strings.TrimSpace(plain(sub.Identifier.Value+" "+sub.Detail))
	}
	short := strings.TrimPrefix(p.Type, rfc8555.ProblemTypeNamespace)
	text = strings.TrimPrefix(fmt.Sprintf("%s (%s)", text, plain(short)), " ")
	if advice := adviceFor(p.Type, kind); advice != "" {
		text += "; " + advice
	}
	return text
}

func adviceFor(kind string, challenge Challenge) string {
	switch kind {
	case rfc8555.ProblemTypeConnection, rfc8555.ProblemTypeTLS:
		return "let the host's DNS name lead to the gateway, and the Internet reach its port " + port(challenge)
	case rfc8555.ProblemTypeDNS:
		return "give the host an A or AAAA record that leads to the gateway"
	case rfc8555.ProblemTypeUnauthorized, rfc8555.ProblemTypeIncorrectResponse:
		switch challenge {
		case "":
			return "the account may be closed: delete its Secret, which begins with " + accountSecret + ", and another one is made"
		case DNS01:
			return "see that the webhook's record is at all of the zone's name servers, or set acme.dnsWebhook.propagation"
		}
		return "something else answers for the host: let its DNS name lead to the gateway only"
	case rfc8555.ProblemTypeCAA:
		return "allow the authority in the CAA record of the domain"
	case rfc8555.ProblemTypeRejectedIdentifier, rfc8555.ProblemTypeUnsupportedIdentifier:
		return "the authority gives no certificate for such a name: remove it from spec.tls"
	case rfc8555.ProblemTypeExternalAccountRequired:
		return "the authority wants to know the account: set acme.eab"
	case rfc8555.ProblemTypeInvalidContact, rfc8555.ProblemTypeUnsupportedContact:
		return "correct acme.email"
	case rfc8555.ProblemTypeUserActionRequired:
		return "go to the authority's site, its terms may have changed"
	}
	return ""
}

func port(challenge Challenge) string {
	if challenge == TLSALPN01 {
		return "443"
	}
	return "80"
}

// plain makes a text of others one short line.
func plain(text string) string {
	return cut(strings.Join(strings.FieldsFunc(text, func(r rune) bool { return r <= ' ' || r == 0x7f || r == 0xfffd }), " "))
}
