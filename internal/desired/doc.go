// Package desired turns the Kubernetes objects that matter to networking into
// one immutable value, the State, which every feature compiles from.
//
// In go Objects (Services and EndpointSlices, parsed when they arrive, and
// Namespaces as the API server holds them; Ingresses likewise where a process asks for them), the Node this process runs on, and the previous State. Out come
// the next State, free of Kubernetes types, and a Status for every object whose
// reasons changed. Whatever did not change is shared with the previous State by
// pointer, so the cost of a Build is that of the change.
//
// A bad object never is an error: what can be used of it is used, and a Reason
// says in words of its owner what cannot. The package reads no clock, no
// network and no file, and never changes a value that it has returned.
package desired
