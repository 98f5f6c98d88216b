package proxy

import (
	"slices"

	"github.com/fairlead-net/fairlead/internal/l7/http1"
)

// when is with which answers a field goes to the client.
type when uint8

const (
	// always is with every answer, in place of others of its name.
	always when = iota
	// successful is with those of nginx's add_header: 200, 201, 204, 206, 301 to 304, 307
	// and 308.
	successful
	// besides is with every answer, beside others of its name.
	besides
	// removed takes the fields of its name away.
	removed
)

// addition is a field that goes to the client with the answer, be it the proxy's own or
// a backend's.
type addition struct {
	field http1.Field
	when  when
}

// add notes a field for the answer.
func (x *exchange) add(name, value string, w when) {
	x.added = append(x.added, addition{field(name, value), w})
}

func field(name, value string) http1.Field { return http1.NewField(name, value) }

// fits reports whether an addition goes with an answer of a status.
func (a *addition) fits(status int) bool {
	return a.when != successful || slices.Contains([]int{200, 201, 204, 206, 301, 302, 303, 304, 307, 308}, status)
}

// change makes of an answer, be it the proxy's own or a backend's, what the client gets.
func (w *work) change() {
	for i := range w.added {
		a := &w.added[i]
		if !a.fits(w.response.Status) {
			continue
		}
		if a.when == removed {
			w.response.Remove(string(a.field.Lower))
			continue
		}
		if string(a.field.Lower) == "set-cookie" || a.when != always {
			w.response.Append(a.field)
		} else {
			w.response.Set(a.field)
		}
	}
}
