package filter

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/fairlead-net/fairlead/internal/l7/htpasswd"
)

// Content is what a Reference's object has, as its Purpose reads it.
type Content struct {
	Users  *htpasswd.Users
	Fields []FieldTemplate
	// Authorities vouch for clients or backends; nil: there are none. Certificate is shown
	// to backends; nil: none is.
	Authorities *x509.CertPool
	Certificate *tls.Certificate
}

// Read reads the data of the object that a Reference names. Content is nil if nothing
// of it can be used; problems say, for people, what is left out and why.
func Read(r Reference, data map[string][]byte) (c *Content, problems []string) {
	switch r.Purpose {
	case UserFile, UserMap:
		return readUsers(r, data)
	case RequestFields, AnswerFields:
		return readFields(r, data)
	case ClientAuthority, BackendTLS:
		return readTLS(r, data)
	}
	return nil, []string{fmt.Sprintf("%s is for nothing that is known", r)}
}

func readUsers(r Reference, data map[string][]byte) (*Content, []string) {
	var (
		users *htpasswd.Users
		wrong []error
	)
	if r.Purpose == UserMap {
		users, wrong = htpasswd.FromMap(data)
	} else {
		file, ok := data["auth"]
		if !ok {
			return nil, []string{fmt.Sprintf("%s has no key auth, so nobody is let in by it", r)}
		}
		users, wrong = htpasswd.Parse(file)
	}
	var problems []string
	for _, err := range wrong {
		problems = append(problems, fmt.Sprintf("%s: %v; who it is for is not let in", r, err))
	}
	return &Content{Users: users}, problems
}

// readTLS takes authorities and, for backends, what is shown to them.
func readTLS(r Reference, data map[string][]byte) (*Content, []string) {
	c := &Content{}
	if ca, ok := data["ca.crt"]; ok {
		if c.Authorities = x509.NewCertPool(); !c.Authorities.AppendCertsFromPEM(ca) {
			return nil, []string{fmt.Sprintf("%s: key ca.crt has no certificate, so it vouches for nobody", r)}
		}
	}
	if r.Purpose == ClientAuthority {
		if c.Authorities == nil {
			return nil, []string{fmt.Sprintf("%s has no key ca.crt, so it vouches for nobody", r)}
		}
		return c, nil
	}
	if crt, ok := data["tls.crt"]; ok && len(crt) > 0 {
		pair, err := tls.X509KeyPair(crt, data["tls.key"])
		if err != nil {
			return nil, []string{fmt.Sprintf("%s: keys tls.crt and tls.key: %v", r, err)}
		}
		c.Certificate = &pair
	}
	return c, nil
}

// readFields takes a field under each key. One that cannot be used makes all of them
// unusable: to leave one out may be to let more through than was meant.
func readFields(r Reference, data map[string][]byte) (*Content, []string) {
	c := &Content{}
	var problems []string
	for _, name := range slices.Sorted(maps.Keys(data)) {
		value, err := ParseTemplate(string(data[name]))
		switch {
		case !FieldName(name):
			problems = append(problems, fmt.Sprintf("%s: %q is no name of a header field that can be set", r, name))
		case r.Purpose == RequestFields && strings.EqualFold(name, "host"):
			problems = append(problems, fmt.Sprintf("%s: %s cannot be set here, for which there is annotation upstream-vhost", r, name))
		case err != nil:
			problems = append(problems, fmt.Sprintf("%s: the value of %s %v", r, name, err))
		case strings.ContainsFunc(value.String(), func(c rune) bool { return c < ' ' || c == 0x7f }):
			problems = append(problems, fmt.Sprintf("%s: the value of %s has control characters", r, name))
		default:
			c.Fields = append(c.Fields, FieldTemplate{name, value})
		}
	}
	if len(problems) > 0 {
		return nil, problems
	}
	return c, nil
}

// FieldName reports whether a text can be the name of a field that a user sets: of
// letters, digits, - and _, and none that says how a message is framed.
func FieldName(text string) bool {
	for i := range len(text) {
		c := text[i]
		if !(c|0x20 >= 'a' && c|0x20 <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '_') {
			return false
		}
	}
	framing := []string{"connection", "content-length", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade", "expect", "http2-settings"}
	return text != "" && len(text) <= 128 && !slices.Contains(framing, strings.ToLower(text))
}
