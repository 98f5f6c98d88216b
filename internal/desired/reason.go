package desired

// Ref names an object that a user wrote.
type Ref struct {
	Kind      string `json:"kind"`
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name"`
}

// String returns KIND NAMESPACE/NAME.
func (r Ref) String() string {
	if r.Namespace == "" {
		return r.Kind + " " + r.Name
	}
	return r.Kind + " " + r.Namespace + "/" + r.Name
}

// Reason says why an object, or a part of it, is not used as written.
type Reason struct {
	Object Ref `json:"object"`
	// Code is one CamelCase word for machines; it is the reason of the Event.
	Code string `json:"code"`
	// Message says what is wrong, what Fairlead does instead, and what to do.
	Message string `json:"message"`
}

// Status is all there is to say against one object. No Reasons: it is fine.
type Status struct {
	Object  Ref      `json:"object"`
	Reasons []Reason `json:"reasons"`
}
