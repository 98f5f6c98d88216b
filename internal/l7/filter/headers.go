package filter

// Headers changes fields of answers.
type Headers struct {
	// Answer are the fields that answers get, in place of those of their names; the zero
	// Reference: none.
	Answer Reference
}
