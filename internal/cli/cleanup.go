package cli

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/fairlead-net/fairlead/internal/agent"
)

func newCleanup() *cobra.Command {
	var configFile, address string
	var wait bool
	cmd := &cobra.Command{
		Use:   "cleanup",
		Short: "Remove from this node's kernel what Fairlead left there",
		Long: "Remove from this node's kernel what Fairlead left there: programs and maps that outlive its processes.\n" +
			"Services stop working on this node until another proxy serves them. Running 'fairlead uninstall' does this on every node.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := readConfig(configFile)
			if err != nil {
				return err
			}
			if err := agent.Cleanup(c.LB.BPFFS); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "removed what was pinned in %s\n", c.LB.BPFFS)
			if !wait {
				return nil
			}
			return serveReady(cmd.Context(), address)
		},
	}
	cmd.Flags().StringVar(&configFile, "config", "", "configuration file of the processes to clean up after")
	cmd.Flags().BoolVar(&wait, "wait", false, "stay, and report ready at --http, until stopped")
	cmd.Flags().StringVar(&address, "http", ":10256", "address for /livez and /readyz, with --wait")
	return cmd
}

// serveReady answers every probe with success until ctx ends.
func serveReady(ctx context.Context, address string) error {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return err
	}
	server := &http.Server{
		Handler:     http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "cleaned up") }),
		ReadTimeout: 5 * time.Second, WriteTimeout: 5 * time.Second, MaxHeaderBytes: 8 << 10,
	}
	defer context.AfterFunc(ctx, func() { _ = server.Close() })()
	if err := server.Serve(listener); err != http.ErrServerClosed {
		return err
	}
	return nil
}
