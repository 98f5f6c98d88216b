// Package agent is the composition root: it wires one process together and runs
// it.
//
// In go the configuration and the names of the planes that this process runs;
// the process follows the cluster, builds a State for each change, compiles it
// for every plane and offers each plane its latest value. Out come HTTP
// endpoints for health, metrics and status. The package holds no decision
// about traffic.
package agent
