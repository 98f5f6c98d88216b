// Package conformance runs the [sig-network] specs of Kubernetes' own end-to-end suite, unmodified.
//
// In: the suite's list of specs, the list of exclusions (exclusions.txt), what ginkgo reports. Out: which
// specs run and which don't and why, ginkgo's command line, and one JUnit file that differs between two runs
// only where a result does. It never builds a program, loads an image or changes the cluster, and never
// decides that a failure is none.
package conformance
