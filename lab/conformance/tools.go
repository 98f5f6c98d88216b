//go:build tools

package conformance

// The suite is compiled, not imported. Naming it here makes `go mod tidy` keep what it needs.
import _ "k8s.io/kubernetes/test/e2e"
