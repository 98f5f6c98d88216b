package accesslog

import (
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// madeVariables are those whose values the proxy makes, so that nothing in them has to be
// escaped. The names are nginx's and ingress-nginx's.
func madeVariables() map[string]func([]byte, *Entry) []byte {
	end := func(layout string) func([]byte, *Entry) []byte {
		return func(dst []byte, e *Entry) []byte { return e.Begin.Add(e.Took).AppendFormat(dst, layout) }
	}
	number := func(of func(*Entry) int64) func([]byte, *Entry) []byte {
		return func(dst []byte, e *Entry) []byte { return strconv.AppendInt(dst, of(e), 10) }
	}
	client := func(dst []byte, e *Entry) []byte { return appendAddress(dst, e.Client) }
	status := number(func(e *Entry) int64 { return int64(e.Status) })
	body := number(func(e *Entry) int64 { return e.SentBody })
	return map[string]func([]byte, *Entry) []byte{
		"remote_addr": client, "the_real_ip": client,
		"proxy_protocol_addr": func(dst []byte, _ *Entry) []byte { return dst },
		"realip_remote_addr":  func(dst []byte, e *Entry) []byte { return appendAddress(dst, e.Peer) },
		"time_local":          end("02/Jan/2006:15:04:05 -0700"), "time_iso8601": end("2006-01-02T15:04:05-07:00"),
		"msec": func(dst []byte, e *Entry) []byte {
			return appendSeconds(dst, time.Duration(e.Begin.Add(e.Took).UnixNano()), 3)
		},
		"status": status, "body_bytes_sent": body,
		"bytes_sent":          number(func(e *Entry) int64 { return e.Sent }),
		"request_length":      number(func(e *Entry) int64 { return e.Received }),
		"connection":          number(func(e *Entry) int64 { return e.Connection }),
		"connection_requests": number(func(e *Entry) int64 { return e.ConnectionRequests }),
		"request_time":        func(dst []byte, e *Entry) []byte { return appendSeconds(dst, e.Took, 3) },
		"upstream_addr": each(func(dst []byte, t *Try) []byte {
			return t.appendPlace(dst, escapesHex)
		}),
		"upstream_status":          each(func(dst []byte, t *Try) []byte { return strconv.AppendInt(dst, int64(t.Status), 10) }),
		"upstream_response_length": each(func(dst []byte, t *Try) []byte { return strconv.AppendInt(dst, t.Received, 10) }),
		"upstream_bytes_received":  each(func(dst []byte, t *Try) []byte { return strconv.AppendInt(dst, t.Received, 10) }),
		"upstream_response_time":   each(func(dst []byte, t *Try) []byte { return appendTook(dst, t.Took) }),
		"upstream_header_time":     each(func(dst []byte, t *Try) []byte { return appendTook(dst, t.Header) }),
		"upstream_connect_time":    each(func(dst []byte, t *Try) []byte { return appendTook(dst, t.Connect) }),
		"pipe":                     func(dst []byte, _ *Entry) []byte { return append(dst, '.') },
	}
}

// each appends something of every Try, as nginx separates them.
func each(of func([]byte, *Try) []byte) func([]byte, *Entry) []byte {
	return func(dst []byte, e *Entry) []byte {
		for i := range e.Tries {
			if i > 0 {
				dst = append(dst, ", "...)
			}
			dst = of(dst, &e.Tries[i])
		}
		return dst
	}
}

func appendTook(dst []byte, d time.Duration) []byte {
	if d < 0 {
		return append(dst, '-')
	}
	return appendSeconds(dst, d, 3)
}

func appendAddress(dst []byte, a netip.Addr) []byte {
	if !a.IsValid() {
		return dst
	}
	return a.AppendTo(dst)
}

// appendPlace appends where the endpoint is.
func (t *Try) appendPlace(dst []byte, how escaping) []byte {
	if t.Host == "" {
		return t.Address.AppendTo(dst)
	}
	dst = append(how.append(dst, t.Host), ':')
	return strconv.AppendUint(dst, uint64(t.Port), 10)
}

// textVariables are those whose values are escaped.
func textVariables() map[string]func(*Entry, string) string {
	host := func(e *Entry, _ string) string { return text(e.Request.Host) }
	id := func(e *Entry, _ string) string { return text(e.ID) }
	query := func(e *Entry, _ string) string { return text(e.Request.Query) }
	path := func(e *Entry, _ string) string { return text(e.Request.Path) }
	authority := func(e *Entry, _ string) string { return text(e.Request.Authority) }
	trace := func(e *Entry, _ string) string { return e.TraceID }
	return map[string]func(*Entry, string) string{
		"remote_user": func(e *Entry, _ string) string { return e.User },
		"host":        host, "server_name": host, "http_host": authority, "best_http_host": authority,
		"uri": path, "document_uri": path, "args": query, "query_string": query,
		"request_uri":     func(e *Entry, _ string) string { return text(e.Target) },
		"request_method":  func(e *Entry, _ string) string { return text(e.Request.Method) },
		"server_protocol": func(e *Entry, _ string) string { return e.Protocol },
		"is_args": func(e *Entry, _ string) string {
			if len(e.Request.Query) > 0 {
				return "?"
			}
			return ""
		},
		"scheme": scheme, "pass_access_scheme": scheme, "https": func(e *Entry, _ string) string {
			if e.TLSVersion != "" {
				return "on"
			}
			return ""
		},
		"server_port": func(e *Entry, _ string) string { return e.ServerPort },
		"req_id":      id, "request_id": id,
		"ssl_protocol":           func(e *Entry, _ string) string { return e.TLSVersion },
		"ssl_cipher":             func(e *Entry, _ string) string { return e.Cipher },
		"ssl_server_name":        func(e *Entry, _ string) string { return e.ServerName },
		"namespace":              func(e *Entry, _ string) string { return e.Namespace },
		"ingress_name":           func(e *Entry, _ string) string { return e.Name },
		"location_path":          func(e *Entry, _ string) string { return e.Rule },
		"service_name":           func(e *Entry, _ string) string { return e.Service.Name },
		"service_port":           func(e *Entry, _ string) string { return e.Service.Port },
		"opentelemetry_trace_id": trace,
		"otel_trace_id":          trace,
		"opentelemetry_span_id":  func(e *Entry, _ string) string { return e.SpanID },
		"otel_span_id":           func(e *Entry, _ string) string { return e.SpanID },
		"fairlead_reason":        func(e *Entry, _ string) string { return e.Reason },
		"upstream_cache_status":  func(*Entry, string) string { return "" },
	}
}

func scheme(e *Entry, _ string) string { return e.Scheme }

// prefixes are the variables that name something of the request.
func prefixes() map[string]func(*Entry, string) string {
	return map[string]func(*Entry, string) string{
		"http_":   func(e *Entry, name string) string { return text(e.Request.Get(name)) },
		"cookie_": func(e *Entry, name string) string { return pair(text(e.Request.Get("cookie")), "; ", name) },
		"arg_":    func(e *Entry, name string) string { return pair(text(e.Request.Query), "&", name) },
	}
}

// wholeVariables are those that are made of several texts.
func wholeVariables() map[string]func([]byte, *Entry, escaping) []byte {
	return map[string]func([]byte, *Entry, escaping) []byte{
		"request": func(dst []byte, e *Entry, how escaping) []byte {
			if e.Protocol == "" || len(e.Request.Method) == 0 {
				return dst
			}
			dst = append(how.append(dst, text(e.Request.Method)), ' ')
			dst = append(how.append(dst, text(e.Target)), ' ')
			return append(dst, e.Protocol...)
		},
		"proxy_upstream_name": func(dst []byte, e *Entry, how escaping) []byte { return e.Service.append(dst, how) },
		"proxy_alternative_upstream_name": func(dst []byte, e *Entry, how escaping) []byte {
			return e.Alternative.append(dst, how)
		},
	}
}

// append appends NAMESPACE-NAME-PORT, ingress-nginx's name of an upstream.
func (s *Service) append(dst []byte, how escaping) []byte {
	if s.Name == "" {
		return dst
	}
	dst = append(how.append(dst, s.Namespace), '-')
	dst = append(how.append(dst, s.Name), '-')
	return how.append(dst, s.Port)
}

// pair returns the value of the first NAME=VALUE of a name in a list.
func pair(list, separator, name string) string {
	for rest := list; rest != ""; {
		var one string
		one, rest, _ = strings.Cut(rest, separator)
		if key, value, ok := strings.Cut(one, "="); ok && strings.EqualFold(key, name) {
			return value
		}
	}
	return ""
}
