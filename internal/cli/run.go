package cli

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/fairlead-net/fairlead/internal/agent"
	"github.com/fairlead-net/fairlead/internal/config"
)

// served is what the command line says of a process without a cluster.
type served struct {
	dir, config, http, level, acmeDir string
	httpPort, httpsPort               uint16
	dns                               []string
	nginx, http3                      bool
}

func newRun() *cobra.Command {
	var s served
	cmd := &cobra.Command{
		Use:   "run -f DIR",
		Short: "Serve the Ingresses and the names of a folder of manifests, without a cluster",
		Long: `Serve the Ingresses and the names of a folder of manifests, without a cluster.

The folder holds what kubectl apply would take: Ingresses and IngressClasses,
Services with EndpointSlices (or of type ExternalName), Secrets. It is followed:
a changed file counts within a second, and one that cannot be read leaves what
was there before in force. Ctrl-C lets requests end before the process does.`,
		Example: "  fairlead run -f manifests/\n" +
			"  fairlead run -f manifests/ --http-port 8080 --https-port 8443 --dns 127.0.0.1:5353",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			o, err := s.options()
			if err != nil {
				return err
			}
			o.Log.Info("serving a folder", "folder", o.Dir, "status", "http://"+o.HTTP+"/status")
			a, err := agent.New(o)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, o.Kept.Close()) }()
			return a.Run(cmd.Context())
		},
	}
	cmd.Flags().StringVarP(&s.dir, "filename", "f", "", "the folder")
	cmd.Flags().StringVar(&s.config, "config", "", "configuration file, as in a cluster (default: every setting at its default)")
	cmd.Flags().Uint16Var(&s.httpPort, "http-port", 80, "port for HTTP")
	cmd.Flags().Uint16Var(&s.httpsPort, "https-port", 443, "port for HTTPS")
	cmd.Flags().StringSliceVar(&s.dns, "dns", nil, "also answer DNS queries at ADDRESS:PORT, by UDP and TCP")
	cmd.Flags().BoolVar(&s.nginx, "ingress-nginx", false, "also serve the classes of ingress-nginx (migration.ingressNginx)")
	cmd.Flags().BoolVar(&s.http3, "http3", false, "also serve HTTP/3, at the UDP port of --https-port (gateway.http3)")
	cmd.Flags().StringVar(&s.acmeDir, "acme-dir", "", "order certificates as acme says in the configuration, and keep them in this directory (default: none are ordered)")
	cmd.Flags().StringVar(&s.http, "http", "127.0.0.1:10256", "address for /readyz, /metrics and /status")
	cmd.Flags().StringVar(&s.level, "log-level", "", "debug, info, warn or error; overrides the configuration file")
	return cmd
}

// options turns the command line into what a process is started with.
func (s *served) options() (agent.Options, error) {
	if s.dir == "" {
		return agent.Options{}, usageError{errors.New("--filename is missing: the folder that holds the manifests")}
	}
	c, err := readConfig(s.config)
	if err != nil {
		return agent.Options{}, err
	}
	if s.level != "" {
		c.LogLevel = s.level
	}
	at, err := c.Level()
	if err != nil {
		return agent.Options{}, usageError{fmt.Errorf("--log-level %s is none of debug, info, warn and error", s.level)}
	}
	if s.acmeDir != "" && !c.ACME.AgreeToTerms {
		return agent.Options{}, usageError{errors.New("--acme-dir is for certificates that are ordered, but nothing is without acme.agreeToTerms: true in the file of --config")}
	}
	if s.acmeDir != "" && (within(s.acmeDir, s.dir) || within(s.dir, s.acmeDir)) {
		return agent.Options{}, usageError{errors.New("--acme-dir must be outside of the folder of manifests, where what is kept would be taken for somebody's manifests")}
	}
	c.Gateway.HTTPPort, c.Gateway.HTTPSPort = s.httpPort, s.httpsPort
	c.Gateway.HTTP3 = c.Gateway.HTTP3 || s.http3
	c.Gateway.Lameduck = 0 // nobody has to be told to go elsewhere
	c.Migration.IngressNginx = c.Migration.IngressNginx || s.nginx
	planes := []string{"gateway"}
	if len(s.dns) > 0 {
		c.DNS.Listen = nil
		for _, text := range s.dns {
			address, err := netip.ParseAddrPort(text)
			if err != nil {
				return agent.Options{}, usageError{fmt.Errorf("--dns: %w", err)}
			}
			c.DNS.Listen = append(c.DNS.Listen, address)
		}
		planes = append(planes, "dns")
	}
	return agent.Options{
		Config: withoutCluster(c), Dir: s.dir, ACMEDir: s.acmeDir, Planes: planes, HTTP: s.http, Version: version(), Kept: agent.NewKept(),
		Log: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: at})),
	}, nil
}

// withoutCluster leaves out what only a cluster has.
func withoutCluster(c config.Config) config.Config {
	c.DNS.Corefile, c.DNS.Autopath = "", false
	return c
}

// within reports whether a path is a directory, or in it.
func within(path, dir string) bool {
	absolute := func(p string) string {
		if found, err := filepath.EvalSymlinks(p); err == nil {
			p = found
		}
		if made, err := filepath.Abs(p); err == nil {
			p = made
		}
		return p
	}
	to, err := filepath.Rel(absolute(dir), absolute(path))
	return err == nil && filepath.IsLocal(to)
}
