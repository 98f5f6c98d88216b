// Package observe gives Fairlead's work the names that dashboards know.
//
// In go facts about what was wanted and what was applied, told by whoever runs
// the planes; out come Prometheus metrics named, typed and labelled as
// kube-proxy 1.37 has them. docs/metrics.md lists them. The package reads no
// clock, knows no plane and decides nothing.
package observe
