package proxy

import (
	"net/http"

	"github.com/fairlead-net/fairlead/internal/l7/filter"
)

// snippet is what directives of nginx's have become; nil: nothing.
func (x *exchange) snippet() *filter.Snippet {
	if x.route.Filters == nil {
		return nil
	}
	return x.route.Filters.Snippet
}

// stepped reports whether a step of a snippet answers; then it has.
func (x *exchange) stepped(first bool) bool {
	s := x.snippet()
	if s == nil {
		return false
	}
	steps := s.Steps
	if first {
		steps = s.First
	}
	for i := range steps {
		text, ok := steps[i].Answers(x.value)
		if !ok {
			continue
		}
		switch status := steps[i].Status; {
		case status >= 301 && status <= 308 && status != 304:
			x.add("Location", text, always)
			x.answer(status, "the route leads elsewhere")
		case text == "":
			x.answer(status, "the route answers so")
		default:
			x.sayText(status, text)
		}
		return true
	}
	return false
}

// sayText answers with a text of the Route's.
func (x *exchange) sayText(status int, text string) {
	x.status = status
	x.closes = x.closes || !x.skipBody()
	x.page = append(x.page[:0], text...)
	x.response.Make(status, http.StatusText(status))
	x.response.Add("Content-Type", "text/html") // ingress-nginx's default_type
	x.response.Length = int64(len(x.page))
	x.say(x.client, x.page, x.closes)
	x.linger = x.linger || x.closes
}

// snippetFields notes the fields that a snippet gives answers.
func (x *exchange) snippetFields() {
	s := x.snippet()
	if s == nil {
		return
	}
	for _, f := range s.Answer {
		how := map[filter.Change]when{filter.AddField: successful, filter.AddAlways: besides, filter.SetField: always, filter.ClearField: removed}[f.How]
		x.add(f.Name, string(f.Value.Append(nil, x.value)), how)
	}
}

// requestFields gives the backend the fields that the Route says. It reports whether
// they are known; if not, the request has been answered.
func (x *exchange) requestFields() bool {
	if x.route.Filters == nil {
		return true
	}
	if h := x.route.Filters.Headers; h != nil && h.Backends.Name != "" {
		content := x.proxy.content(h.Backends)
		if content == nil {
			x.answer(503, "the fields of the route's requests are not known")
			return false
		}
		x.setFields(content.Fields)
	}
	if s := x.snippet(); s != nil {
		x.setFields(s.Request)
	}
	return true
}

func (x *exchange) setFields(fields []filter.FieldTemplate) {
	for _, f := range fields {
		made := field(f.Name, string(f.Value.Append(nil, x.value)))
		if len(made.Value) == 0 {
			x.request.Remove(string(made.Lower))
			continue
		}
		x.request.Set(made)
	}
}
