package main

import (
	"fmt"
	"log/slog"
	"net/netip"
	"os"

	"github.com/spf13/cobra"

	"github.com/fairlead-net/fairlead/lab/config"
	"github.com/fairlead-net/fairlead/lab/forward"
	"github.com/fairlead-net/fairlead/lab/machine"
	"github.com/fairlead-net/fairlead/lab/upstream"
)

// The commands below are how the lab calls itself; nobody types them.

func newMachineBoot() *cobra.Command {
	return &cobra.Command{
		Use: machine.BootCommand + " DIR", Hidden: true, Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error { return machine.Boot(args[0]) },
	}
}

func newMachineInit() *cobra.Command {
	return &cobra.Command{
		Use: machine.InitCommand + " DIR", Hidden: true, Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return machine.Init(cmd.Context(), args[0], logger())
		},
	}
}

func newServeUpstream() *cobra.Command {
	return &cobra.Command{
		Use: config.UpstreamCommand + " ADDRESS...", Hidden: true, Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var addrs []netip.Addr
			for _, arg := range args {
				addr, err := netip.ParseAddr(arg)
				if err != nil {
					return fmt.Errorf("where to answer DNS: %w", err)
				}
				addrs = append(addrs, addr)
			}
			return upstream.Serve(cmd.Context(), addrs)
		},
	}
}

func newServeForward() *cobra.Command {
	return &cobra.Command{
		Use: config.ForwardCommand + " ADDRESS...", Hidden: true, Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var listeners []*os.File
			for i := range args {
				listeners = append(listeners, os.NewFile(uintptr(3+i), "listener")) // after stdin, stdout, stderr
			}
			return forward.Serve(cmd.Context(), listeners, args, logger())
		},
	}
}

func logger() *slog.Logger { return slog.New(slog.NewTextHandler(os.Stderr, nil)) }
