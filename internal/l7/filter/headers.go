package filter

// Headers changes fields of answers.
type Headers struct {
	// All are fields that an administrator gives all answers, and Backends those that all
	// backends get; the zero Reference: none. Hide are those of backends that clients do
	// not get, HTTPS what answers by HTTPS have as Strict-Transport-Security.
	All, Backends Reference
	Hide          []string
	HTTPS         string
	// Answer are the fields that answers get, in place of those of their names; the zero
	// Reference: none.
	Answer Reference
}
