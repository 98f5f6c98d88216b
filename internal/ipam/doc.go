// Package ipam gives addresses from pools to Services of type LoadBalancer.
//
// In goes a desired.State: pools, Services with what they ask for and have, and
// the claims by which the API server knows who has an address. Out comes a Table:
// for each Service its addresses, or why it has none, and what each pool has left.
// What a Service has it keeps, unless there is a Reason. The package is a pure
// function: it remembers nothing that is not in the State, so that a restart or
// another process comes to the same.
package ipam
