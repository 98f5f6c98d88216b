package accesslog

import (
	"strconv"
	"time"
)

// object appends the members of a JSON object.
type object struct{ b []byte }

func (o *object) name(name string) {
	if o.b[len(o.b)-1] != '{' {
		o.b = append(o.b, ',')
	}
	o.b = append(o.b, '"')
	o.b = append(o.b, name...)
	o.b = append(o.b, '"', ':')
}

// text adds a text, unless it is empty.
func (o *object) text(name, value string) {
	if value != "" {
		o.name(name)
		o.b = append(appendJSON(append(o.b, '"'), value), '"')
	}
}

func (o *object) number(name string, value int64) {
	o.name(name)
	o.b = strconv.AppendInt(o.b, value, 10)
}

// seconds adds a duration, to the microsecond.
func (o *object) seconds(name string, d time.Duration) {
	o.name(name)
	o.b = appendSeconds(o.b, d, 6)
}

// appendSeconds appends a duration in seconds with so many digits after the point.
func appendSeconds(dst []byte, d time.Duration, digits int) []byte {
	unit := time.Second
	for range digits {
		unit /= 10
	}
	n := max(d, 0) / unit
	dst = strconv.AppendInt(dst, int64(n/(time.Second/unit)), 10)
	dst = append(dst, '.')
	rest := int64(n % (time.Second / unit))
	for place := int64(time.Second / unit / 10); place > 0; place /= 10 {
		dst = append(dst, '0'+byte(rest/place%10))
	}
	return dst
}

// appendEntry appends an Entry as one JSON object. Members without a value are left out.
func appendEntry(dst []byte, e *Entry) []byte {
	o := object{append(dst, '{')}
	o.name("time")
	o.b = append(e.Begin.UTC().AppendFormat(append(o.b, '"'), "2006-01-02T15:04:05.000000Z"), '"')
	if e.Client.IsValid() {
		o.name("client")
		o.b = append(e.Client.AppendTo(append(o.b, '"')), '"')
	}
	r := e.Request
	o.text("method", text(r.Method))
	o.text("host", text(r.Host))
	o.text("path", text(r.Path))
	o.text("query", text(r.Query))
	o.text("protocol", e.Protocol)
	o.number("status", int64(e.Status))
	o.number("bytes_in", e.Received)
	o.number("bytes_out", e.Sent)
	o.seconds("duration", e.Took)
	if n := len(e.Tries); n > 0 {
		t := &e.Tries[n-1]
		o.name("upstream")
		o.b = append(t.appendPlace(append(o.b, '"'), escapesJSON), '"')
		o.seconds("upstream_duration", t.Took)
		if t.Header >= 0 {
			o.number("upstream_status", int64(t.Status))
		}
		if n > 1 {
			o.number("tries", int64(n))
		}
	}
	if e.Name != "" {
		o.text("kind", e.Kind)
		o.name("route")
		o.b = append(appendJSON(append(o.b, '"'), e.Namespace), '/')
		o.b = append(appendJSON(o.b, e.Name), '"')
		o.text("rule", e.Rule)
	}
	service := e.Service
	if e.Alternative.Name != "" {
		service = e.Alternative
	}
	if service.Name != "" {
		o.name("backend")
		o.b = append(appendJSON(append(o.b, '"'), service.Namespace), '/')
		o.b = append(appendJSON(o.b, service.Name), ':')
		o.b = append(appendJSON(o.b, service.Port), '"')
	}
	o.text("request_id", text(e.ID))
	o.text("trace_id", e.TraceID)
	o.text("user_agent", text(r.Get("user-agent")))
	o.text("referer", text(r.Get("referer")))
	o.text("tls", e.TLSVersion)
	o.text("sni", e.ServerName)
	o.text("reason", e.Reason)
	return append(o.b, '}', '\n')
}
