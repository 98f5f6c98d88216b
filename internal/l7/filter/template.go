package filter

import (
	"errors"
	"fmt"
	"strings"
)

// Variable is what a Template can have of a request.
type Variable uint8

// The variables, under nginx's names.
const (
	Host              Variable = iota + 1 // $host: in lower case, without port
	HTTPHost                              // $http_host: as sent, with port; also $best_http_host
	RequestURI                            // $request_uri: path and query as the client sent them
	EscapedRequestURI                     // $escaped_request_uri: the same, for a query parameter
	URI                                   // $uri: the path, decoded
	Args                                  // $args, $query_string
	Method                                // $request_method
	Scheme                                // $scheme, $pass_access_scheme
	RemoteAddr                            // $remote_addr, $the_real_ip
	ServerPort                            // $server_port, $pass_port
	RequestID                             // $request_id, $req_id
	RemoteUser                            // $remote_user: of basic authentication
	Header                                // $http_NAME
	Cookie                                // $cookie_NAME
	Argument                              // $arg_NAME
	Namespace                             // $namespace of the Ingress
	IngressName                           // $ingress_name
	ServiceName                           // $service_name
	ServicePort                           // $service_port
	ClientVerify                          // $ssl_client_verify
	ClientSubject                         // $ssl_client_s_dn
	ClientIssuer                          // $ssl_client_i_dn
)

func variables() map[string]Variable {
	return map[string]Variable{
		"host": Host, "http_host": HTTPHost, "best_http_host": HTTPHost, "server_name": Host,
		"request_uri": RequestURI, "escaped_request_uri": EscapedRequestURI, "uri": URI, "document_uri": URI,
		"args": Args, "query_string": Args, "request_method": Method, "scheme": Scheme, "pass_access_scheme": Scheme,
		"remote_addr": RemoteAddr, "the_real_ip": RemoteAddr, "binary_remote_addr": RemoteAddr, "server_port": ServerPort, "pass_port": ServerPort,
		"request_id": RequestID, "req_id": RequestID, "remote_user": RemoteUser,
		"namespace": Namespace, "ingress_name": IngressName, "service_name": ServiceName, "service_port": ServicePort,
		"ssl_client_verify": ClientVerify, "ssl_client_s_dn": ClientSubject, "ssl_client_i_dn": ClientIssuer,
	}
}

// Source gives the values of variables. The argument is the NAME of $http_NAME,
// $cookie_NAME and $arg_NAME, in lower case, for $http_NAME with - for _.
type Source func(v Variable, argument string) string

// Template is a text with variables. The zero Template is the empty text.
type Template struct {
	parts []part
	text  string
}

// part is a text, or a variable if that is not 0.
type part struct {
	text     string
	variable Variable
}

const (
	maxTemplate = 2048
	maxParts    = 64
)

// ParseTemplate reads a text with variables such as $host or ${host}. The error says
// what is not supported.
func ParseTemplate(text string) (Template, error) {
	if len(text) > maxTemplate {
		return Template{}, fmt.Errorf("has more than %d characters", maxTemplate)
	}
	t := Template{text: text}
	known := variables()
	for rest := text; rest != ""; {
		literal, after, found := strings.Cut(rest, "$")
		if literal != "" {
			t.parts = append(t.parts, part{text: literal})
		}
		if !found {
			break
		}
		name, next, err := cutName(after)
		if err != nil {
			return Template{}, err
		}
		made := part{variable: known[name]}
		for prefix, v := range map[string]Variable{"http_": Header, "cookie_": Cookie, "arg_": Argument} {
			if argument, ok := strings.CutPrefix(name, prefix); ok && made.variable == 0 && argument != "" {
				made = part{variable: v, text: argument}
				if v == Header {
					made.text = strings.ReplaceAll(strings.ToLower(argument), "_", "-")
				}
			}
		}
		if made.variable == 0 {
			return Template{}, fmt.Errorf("has the variable $%s, which is not supported", name)
		}
		t.parts = append(t.parts, made)
		if rest = next; len(t.parts) > maxParts {
			return Template{}, fmt.Errorf("has more than %d variables", maxParts/2)
		}
	}
	return t, nil
}

// cutName takes the name of a variable off a text that follows a dollar sign.
func cutName(text string) (name, rest string, err error) {
	if inner, ok := strings.CutPrefix(text, "{"); ok {
		name, rest, ok = strings.Cut(inner, "}")
		if n := nameLength(name); !ok || n == 0 || n != len(name) {
			return "", "", errors.New("has ${ without a name and }")
		}
		return name, rest, nil
	}
	n := nameLength(text)
	if n == 0 {
		return "", "", errors.New("has a $ that no name of a variable follows")
	}
	return text[:n], text[n:], nil
}

func nameLength(text string) int {
	n := 0
	for n < len(text) && (text[n] == '_' || text[n]|0x20 >= 'a' && text[n]|0x20 <= 'z' || n > 0 && text[n] >= '0' && text[n] <= '9') {
		n++
	}
	return n
}

// String returns the text that the Template was made of.
func (t Template) String() string { return t.text }

// Plain reports whether there are no variables.
func (t Template) Plain() bool {
	for _, p := range t.parts {
		if p.variable != 0 {
			return false
		}
	}
	return true
}

// Literal is a Template of a text that has no variables, whatever it holds.
func Literal(text string) Template {
	if text == "" {
		return Template{}
	}
	return Template{text: text, parts: []part{{text: text}}}
}

// Of is a Template of one variable.
func Of(v Variable, argument string) Template {
	return Template{text: "$", parts: []part{{text: argument, variable: v}}}
}

// Before returns the text in front of the first variable.
func (t Template) Before() string {
	if len(t.parts) == 0 || t.parts[0].variable != 0 {
		return ""
	}
	return t.parts[0].text
}

// Append appends the text with the values of a Source.
func (t Template) Append(dst []byte, s Source) []byte {
	for _, p := range t.parts {
		if p.variable == 0 {
			dst = append(dst, p.text...)
		} else {
			dst = append(dst, s(p.variable, p.text)...)
		}
	}
	return dst
}

// AppendURL does the same, with what a URL must not have of a value encoded: spaces,
// control characters, quotes and what is not ASCII.
func (t Template) AppendURL(dst []byte, s Source) []byte {
	const digits = "0123456789ABCDEF"
	for _, p := range t.parts {
		if p.variable == 0 {
			dst = append(dst, p.text...)
			continue
		}
		value := s(p.variable, p.text)
		for i := range len(value) {
			if c := value[i]; c <= ' ' || c >= 0x7f || strings.IndexByte("\"<>\\^`{|}#", c) >= 0 {
				dst = append(dst, '%', digits[c>>4], digits[c&15])
			} else {
				dst = append(dst, c)
			}
		}
	}
	return dst
}

// AppendEscaped appends a text as a query parameter's value has it: all but letters,
// digits and -._~ encoded.
func AppendEscaped(dst []byte, text string) []byte {
	const digits = "0123456789ABCDEF"
	for i := range len(text) {
		c := text[i]
		if c|0x20 >= 'a' && c|0x20 <= 'z' || c >= '0' && c <= '9' || strings.IndexByte("-._~", c) >= 0 {
			dst = append(dst, c)
		} else {
			dst = append(dst, '%', digits[c>>4], digits[c&15])
		}
	}
	return dst
}
