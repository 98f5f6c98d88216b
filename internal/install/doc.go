// Package install puts Fairlead's chart into a cluster, and takes it out again.
//
// In go the chart that is embedded in the binary, the user's values and what
// package kube finds out about the cluster; out come objects in the cluster,
// applied by Helm as a library, and a line of text per step. Helm's own
// commands can go on with the release at any time. The package never talks to
// the nodes, and changes nothing that is not the release's or its namespace.
package install
