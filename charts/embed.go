// Package charts holds the Helm chart for the binary that installs it.
//
// Nothing goes in; out comes the chart's files, as they are in this folder.
// It never renders or changes them.
package charts

import "embed"

// Fairlead is the folder fairlead: Chart.yaml, values and templates.
//
//go:embed all:fairlead
var Fairlead embed.FS
