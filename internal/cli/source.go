package cli

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/fairlead-net/fairlead/internal/agent"
	"github.com/fairlead-net/fairlead/internal/config"
	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/kube"
)

// source is where a command gets its objects from: a cluster, or a folder.
type source struct {
	access kube.Access
	dir    string
	node   string
	zone   string
	// ingresses: also read Ingresses and their classes.
	ingresses bool
	// nginx: also serve the classes of ingress-nginx.
	nginx bool
	// config are the administrator's choices, once view has read them.
	config config.Config
	stderr func() io.Writer
}

// addClusterFlags adds the flags that name a cluster.
func (s *source) addClusterFlags(cmd *cobra.Command) {
	s.stderr = cmd.ErrOrStderr
	cmd.Flags().StringVar(&s.access.Kubeconfig, "kubeconfig", "", "kubeconfig file (default $KUBECONFIG, then ~/.kube/config)")
	cmd.Flags().StringVar(&s.access.Context, "context", "", "context of the kubeconfig (default its current one)")
}

// addFlags adds the flags that name a cluster or a folder, and a point of view.
func (s *source) addFlags(cmd *cobra.Command) {
	s.addClusterFlags(cmd)
	cmd.Flags().StringVarP(&s.dir, "filename", "f", "", "read manifests from this folder instead of a cluster")
	s.addNodeFlags(cmd)
}

func (s *source) addNodeFlags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&s.node, "node", "", "see it as this node does (default: as no node in particular)")
	cmd.Flags().StringVar(&s.zone, "zone", "", "zone of the node, with -f")
}

func (s *source) client() (*kube.Client, error) {
	s.access.UserAgent = "fairlead-cli/" + version()
	return kube.NewClient(s.access)
}

// view reads the objects once.
func (s *source) view(ctx context.Context) (kube.View, error) {
	if s.dir != "" {
		s.config = config.Default()
		return s.folder()
	}
	client, err := s.client()
	if err != nil {
		return kube.View{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	c, err := clusterConfig(ctx, client)
	if err != nil {
		fmt.Fprintf(s.stderr(), "fairlead: defaults are assumed for what fairlead.yaml says: %v\n", err)
	}
	s.config = c
	what := kube.Reads{Addressing: kube.Addressing{Namespace: c.LoadBalancer.Namespace, Claims: true}, Ingresses: s.ingresses}
	if s.ingresses {
		what.ConfigMaps = agent.ConfigMaps(c)
	}
	return client.List(ctx, s.node, what, slog.New(slog.NewTextHandler(s.stderr(), nil)))
}

// clusterConfig reads what the cluster's configuration says. A cluster without
// Fairlead has the defaults.
func clusterConfig(ctx context.Context, client *kube.Client) (config.Config, error) {
	text, found, err := client.ConfigFile(ctx)
	if err != nil || !found {
		return config.Default(), err
	}
	c, err := config.Parse([]byte(text))
	if err != nil {
		return config.Default(), fmt.Errorf("ConfigMap kube-system/fairlead: %w", err)
	}
	return c, nil
}

func (s *source) folder() (kube.View, error) {
	if info, err := os.Stat(s.dir); err != nil || !info.IsDir() {
		return kube.View{}, notFolder(s.dir)
	}
	m, err := kube.ReadManifests(os.DirFS(s.dir))
	if err != nil {
		return kube.View{}, fmt.Errorf("manifests in %s: %w", s.dir, err)
	}
	if s.ingresses {
		m.AddIngressClasses(s.nginx)
	}
	return kube.View{Objects: m.Objects, Node: desired.Node{Name: s.node, Zone: s.zone}}, nil
}

// notFolder is the mistake of naming something else.
func notFolder(dir string) error {
	return usageError{fmt.Errorf("--filename %s is not a folder; name one that holds .yaml or .json manifests", dir)}
}
