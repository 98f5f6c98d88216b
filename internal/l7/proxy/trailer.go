package proxy

import (
	"bytes"
	"slices"

	"github.com/fairlead-net/fairlead/internal/l7/filter"
)

// requestTrailer returns the text of those fields after the request's body that its
// upstream gets: some take them for fields of the header.
func (x *exchange) requestTrailer() []byte {
	var passed []byte
	for line := range bytes.Lines(x.inbound.trailer()) {
		name, _, _ := bytes.Cut(line, []byte(":"))
		if x.hop.PassesTrailer(&x.request, name) && !x.claims(text(name)) {
			passed = append(passed, line...)
		}
	}
	return passed
}

// claims reports whether a field is one that only the server may set which decides who is
// let in.
func (x *exchange) claims(lower string) bool {
	var auth *filter.Auth
	if x.route.Filters != nil {
		auth = x.route.Filters.Auth
	}
	return auth != nil && auth.External != nil && slices.Contains(auth.External.AnswerFields, lower)
}
