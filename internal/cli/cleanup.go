package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fairlead-net/fairlead/internal/agent"
	"github.com/fairlead-net/fairlead/internal/lb/kubeproxy"
)

func newCleanup() *cobra.Command {
	var configFile, address string
	var wait, dryRun, kubeProxy, force bool
	cmd := &cobra.Command{
		Use:   "cleanup",
		Short: "Remove from this node's kernel what Fairlead, or kube-proxy, left there",
		Long: `Remove from this node's kernel what Fairlead left there: programs and maps that
outlive its processes. Services stop working on this node until another proxy
serves them. Running 'fairlead uninstall' does this on every node.

With --kube-proxy, remove what kube-proxy left there instead, and leave Fairlead
alone: its chains in iptables, its nftables tables, the interface kube-ipvs0 and
its ipsets. What belongs to the kubelet or to anybody else stays. Connections
that kube-proxy translated go on. It refuses while kube-proxy answers at port
10249 of the node, and asks for --force if another program does.`,
		Example: "  fairlead cleanup --kube-proxy --dry-run",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if kubeProxy && wait {
				return usageError{errors.New("--wait is for cleaning up after Fairlead; leave it or --kube-proxy out")}
			}
			if kubeProxy {
				return cleanupKubeProxy(cmd.Context(), cmd.OutOrStdout(), dryRun, force)
			}
			if force {
				return usageError{errors.New("--force is for --kube-proxy; leave it out, or say both")}
			}
			c, err := readConfig(configFile)
			if err != nil {
				return err
			}
			if dryRun {
				_, err := fmt.Fprintf(cmd.OutOrStdout(), "would remove what is pinned in %s, and the nftables tables inet fairlead, ip fairlead-handover and ip6 fairlead-handover\n", strings.Join(agent.PinDirectories(c.LB.BPFFS), " and "))
				return err
			}
			if err := agent.Cleanup(c.LB.BPFFS); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "removed what was pinned in %s, and the nftables tables inet fairlead, ip fairlead-handover and ip6 fairlead-handover\n", strings.Join(agent.PinDirectories(c.LB.BPFFS), " and "))
			if !wait {
				return nil
			}
			return serveReady(cmd.Context(), address)
		},
	}
	cmd.Flags().StringVar(&configFile, "config", "", "configuration file of the processes to clean up after")
	cmd.Flags().BoolVar(&kubeProxy, "kube-proxy", false, "remove what kube-proxy left, and nothing of Fairlead's")
	cmd.Flags().BoolVar(&force, "force", false, "with --kube-proxy: go on though it cannot be known whether kube-proxy runs")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "say what would be removed, and remove nothing")
	cmd.Flags().BoolVar(&wait, "wait", false, "stay, and report ready at --http, until stopped")
	cmd.Flags().StringVar(&address, "http", ":10256", "address for probes, with --wait")
	return cmd
}

// mayClean returns an error unless kube-proxy seems to have ended.
func mayClean(runs kubeproxy.Answer, force bool) error {
	switch {
	case runs == kubeproxy.KubeProxy:
		return errors.New("kube-proxy runs on this node and would write anew what is removed; remove it first (kubectl -n kube-system delete daemonset kube-proxy)")
	case runs == kubeproxy.Somebody && !force:
		return errors.New("port 10249 of this node is answered, but not as kube-proxy does, so that it cannot be known whether kube-proxy runs; it would write anew what is removed. Make sure that it does not (kubectl -n kube-system get pods -l k8s-app=kube-proxy -o wide) and add --force")
	}
	return nil
}

// cleanupKubeProxy says what kube-proxy left, and removes it.
func cleanupKubeProxy(ctx context.Context, out io.Writer, dryRun, force bool) error {
	look, did := kubeproxy.FindAndRemove, "removed"
	if dryRun {
		look, did = kubeproxy.Find, "would remove"
	} else if err := mayClean(kubeproxy.Running(ctx, kubeproxy.MetricsAddresses()...), force); err != nil {
		return err
	}
	found, err := look()
	if found == nil {
		return err
	}
	if err != nil && !dryRun {
		did = "tried to remove"
	}
	for _, part := range []struct {
		verb  string
		lines []string
	}{{did, found.Removable}, {"leaves", found.Kept}, {"left to you:", found.Manual}} {
		for _, line := range part.lines {
			fmt.Fprintf(out, "%s %s\n", part.verb, line)
		}
	}
	if len(found.Removable)+len(found.Manual) == 0 && err == nil {
		fmt.Fprintln(out, "kube-proxy left nothing here")
	}
	return err
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
