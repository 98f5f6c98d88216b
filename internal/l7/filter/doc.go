// Package filter holds what is done with requests on their way to a backend, and with
// answers on their way back, beyond where they go: who is let in, how often, what
// headers are changed.
//
// Filters are data; in go their fields and parts of a request, out come decisions:
// a rate's next state, the headers of an answer, whether an origin is allowed. A
// Template is a text with variables, of a closed list, that a request fills in.
//
// The package opens no socket and reads no clock. A text of a user is never a program,
// and what is filled in is never read for variables again.
package filter

// Filters are what a Route asks for beside its backends. A nil or zero field asks for
// nothing.
type Filters struct {
	CORS        *CORS
	Headers     *Headers
	Limits      *Limits
	Auth        *Auth
	Balance     *Balance
	Retry       *Retry
	Answer      *Answer
	Snippet     *Snippet
	Mirror      *Mirror
	ClientTLS   *ClientTLS
	ModSecurity *ModSecurity
	// NoAccessLog leaves requests out of the access log.
	NoAccessLog bool
}

// Reference names a Secret or a ConfigMap whose contents come to the engine beside
// the Table, and what they are for, which says how they are read.
type Reference struct {
	Purpose         Purpose
	Namespace, Name string
}

// Purpose is what an object is for.
type Purpose uint8

// The purposes of objects.
const (
	// UserFile is a Secret with a file of users under the key auth, UserMap one with a
	// user under each key.
	UserFile Purpose = iota + 1
	UserMap
	// RequestFields and AnswerFields are ConfigMaps with a header field under each key.
	RequestFields
	AnswerFields
	// ClientAuthority is a Secret with the certificates, under ca.crt, of those who vouch
	// for clients.
	ClientAuthority
	// BackendTLS is a Secret with what is shown to backends, under tls.crt and tls.key,
	// and who vouches for them, under ca.crt.
	BackendTLS
)

// Secret reports whether the object is a Secret; else it is a ConfigMap.
func (r Reference) Secret() bool { return r.Purpose != RequestFields && r.Purpose != AnswerFields }

// String returns KIND NAMESPACE/NAME.
func (r Reference) String() string {
	if r.Secret() {
		return "Secret " + r.Namespace + "/" + r.Name
	}
	return "ConfigMap " + r.Namespace + "/" + r.Name
}

// Field is a field of a header.
type Field struct{ Name, Value string }
