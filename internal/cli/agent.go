package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"

	"github.com/spf13/cobra"
	"k8s.io/klog/v2"

	"github.com/fairlead-net/fairlead/internal/agent"
	"github.com/fairlead-net/fairlead/internal/config"
)

func newAgent() *cobra.Command {
	var o agent.Options
	var level string
	var podIPs []string
	cmd := &cobra.Command{
		Use:   "agent",
		Short: "Run planes: this is what the chart's pods run",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			for _, text := range podIPs {
				address, err := netip.ParseAddr(text)
				if err != nil {
					return usageError{fmt.Errorf("--pod-ips: %w", err)}
				}
				o.PodIPs = append(o.PodIPs, address)
			}
			o.Kept = agent.NewKept()
			for {
				err := runAgent(cmd.Context(), o, level)
				if !errors.Is(err, agent.ErrConfigChanged) {
					return errors.Join(err, o.Kept.Close())
				}
			}
		},
	}
	cmd.Flags().StringVar(&o.ConfigFile, "config", "", "configuration file (default: every setting at its default)")
	cmd.Flags().StringSliceVar(&o.Planes, "planes", nil, "planes to run: lb, announce, dns, gateway, ipam, status")
	cmd.Flags().StringVar(&o.Node, "node-name", "", "name of this machine's Node object")
	cmd.Flags().StringVar(&o.HTTP, "http", ":10256", "address for /alive, /livez, /readyz, /healthz, /metrics and /status")
	cmd.Flags().StringVar(&o.Socket, "node-socket", "/run/fairlead/node.sock", "unix socket by which processes on one node notice each other's end")
	cmd.Flags().StringSliceVar(&podIPs, "pod-ips", nil, "addresses of this process's own pod")
	cmd.Flags().StringVar(&level, "log-level", "", "debug, info, warn or error; overrides the configuration file")
	return cmd
}

func runAgent(ctx context.Context, o agent.Options, level string) error {
	c, err := readConfig(o.ConfigFile)
	if err != nil {
		return err
	}
	if level != "" {
		c.LogLevel = level
	}
	at, err := c.Level()
	if err != nil {
		return usageError{fmt.Errorf("--log-level %s is none of debug, info, warn and error", level)}
	}
	o.Config, o.Version = c, version()
	o.Log = slog.New(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: at}))
	klog.SetSlogLogger(o.Log.With("component", "client-go"))
	if o.Identity, err = os.Hostname(); err != nil {
		return fmt.Errorf("own host name: %w", err)
	}
	a, err := agent.New(o)
	if err != nil {
		return err
	}
	return a.Run(ctx)
}

func readConfig(file string) (config.Config, error) {
	if file == "" {
		return config.Default(), nil
	}
	content, err := os.ReadFile(file)
	if err != nil {
		return config.Config{}, fmt.Errorf("configuration: %w", err)
	}
	c, err := config.Parse(content)
	if err != nil {
		return c, fmt.Errorf("%s: %w", file, err)
	}
	return c, nil
}
