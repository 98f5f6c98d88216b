// Package cli is the command line: one file per command.
//
// In go arguments and the three standard streams; out come text, JSON or YAML
// and an exit code: 0 for success, 1 for a failure, 2 for a wrong command line.
// Commands hold no logic of their own: they read flags, call the package that
// knows, and print.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// Streams are the standard streams of a command.
type Streams struct {
	In  io.Reader
	Out io.Writer
	Err io.Writer
}

// usageError marks a mistake on the command line.
type usageError struct{ error }

// Main runs the command that args name and returns its exit code.
func Main(ctx context.Context, args []string, streams Streams) int {
	root := newRoot(streams)
	root.SetArgs(args)
	understood := false
	root.PersistentPreRun = func(*cobra.Command, []string) { understood = true }
	err := root.ExecuteContext(ctx)
	if err != nil && !understood {
		err = usageError{err}
	}
	var usage usageError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &usage):
		fmt.Fprintf(streams.Err, "fairlead: %v\nSee '%s --help'.\n", err, "fairlead")
		return 2
	default:
		fmt.Fprintf(streams.Err, "fairlead: %v\n", err)
		return 1
	}
}

func newRoot(streams Streams) *cobra.Command {
	root := &cobra.Command{
		Use:           "fairlead",
		Short:         "All of Kubernetes networking in one binary",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.SetIn(streams.In)
	root.SetOut(streams.Out)
	root.SetErr(streams.Err)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.AddCommand(
		newInstall(),
		newUpgrade(),
		newUninstall(),
		newStatus(),
		newServices(), newLB(), newDNS(),
		newExplain(),
		newTrace(),
		newCompile(),
		newAgent(),
		newRun(),
		newMigrate(),
		newCleanup(),
		newVersion(),
	)
	return root
}

// version is what the build stamped into the binary, or the module's version.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "(devel)"
	}
	return info.Main.Version
}
