// Package tracing reads which trace a request belongs to, and says so onward.
//
// In go the fields of a request's header, of W3C Trace Context and of B3, and a source of
// random numbers; out comes a Context: the trace, whether it is recorded, and the fields
// that the next one gets. What is malformed is as if it were not there: a request is never
// refused for it, and never passed on with it.
//
// The package records nothing and sends nothing.
package tracing
