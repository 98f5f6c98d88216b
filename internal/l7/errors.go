package l7

import "slices"

// Errors says what is answered in place of errors.
type Errors struct {
	// Backend answers instead.
	Backend BackendID
	// Statuses are the answers, of Route's Backends and of the engine, that it answers
	// instead of.
	Statuses []int
	// Absent: it answers also where no endpoint of Route's Backends is ready.
	Absent bool
}

// Replaces reports whether another Backend answers in place of a status.
func (e *Errors) Replaces(status int) bool { return e != nil && slices.Contains(e.Statuses, status) }

// readErrors finds out what answers in place of errors: the Service of the annotation,
// else the administrator's default backend.
func (i *ingress) readErrors(standard BackendID) {
	o := &i.options
	if len(o.Errors) == 0 && o.DefaultBackend == "" {
		return
	}
	e := &Errors{Statuses: o.Errors, Backend: standard}
	if o.DefaultBackend != "" {
		e.Absent = true
		e.Backend = BackendID{Service: i.source.Name, Port: ""}
		e.Backend.Service.Name = o.DefaultBackend
		i.backends[e.Backend] = true
	}
	if e.Backend == (BackendID{}) {
		i.reasons = append(i.reasons, i.reason("DefaultBackendMissing", "annotation custom-http-errors needs something that answers instead: annotation default-backend, or gateway.defaultBackend; there is neither, so errors stay as they are"))
		return
	}
	i.errors = e
}
