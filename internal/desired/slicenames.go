package desired

// sliceNames is a sorted list of the names of a Service's slices.
type sliceNames struct{ names []Name }
