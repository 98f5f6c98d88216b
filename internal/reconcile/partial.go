package reconcile

import "errors"

// PartialError is what of a value could not be applied while all the rest was:
// a single Service that the kernel refuses, or something old that stays. The
// loop takes the value for applied, tells the problem, and tries again.
//
// It counts only as the very error that Apply returns; joined with others by
// errors.Join it is as bad as they are. Join keeps it.
type PartialError struct{ Err error }

// Error returns the message of what could not be applied.
func (e *PartialError) Error() string { return e.Err.Error() }

// Unwrap returns what could not be applied.
func (e *PartialError) Unwrap() error { return e.Err }

// Partial returns errors that concern a part of a value as one PartialError, or
// nil if all of them are nil.
func Partial(parts ...error) error {
	if err := errors.Join(parts...); err != nil {
		return &PartialError{err}
	}
	return nil
}

// Join is errors.Join, but for errors that are all nil or PartialErrors: these
// become one PartialError.
func Join(failed ...error) error {
	for _, err := range failed {
		if err != nil && !IsPartial(err) {
			return errors.Join(failed...)
		}
	}
	return Partial(failed...)
}

// IsPartial tells whether an error of Apply concerns but a part of the value.
func IsPartial(err error) bool {
	_, partial := err.(*PartialError) //nolint:errorlint // one inside of a graver error does not count
	return partial
}
