package agent

import (
	"context"
	"fmt"

	"github.com/fairlead-net/fairlead/internal/kube"
)

// objects is where a process has its objects from: a cluster, or a folder.
type objects interface {
	// Run sends Views as they change, until ctx ends.
	Run(ctx context.Context, out chan<- kube.View) error
	// Health says why the objects may be out of date, or "".
	Health() string
}

// newSource sets where this process has its objects from. The client is nil if that
// is no cluster.
func (a *Agent) newSource() (*kube.Client, error) {
	o := a.options
	if o.Dir != "" {
		for _, plane := range o.Planes {
			if plane != "dns" && plane != "gateway" {
				return nil, fmt.Errorf("plane %s needs a cluster; a folder of manifests serves dns and gateway", plane)
			}
		}
		folder, err := kube.NewFolder(o.Dir, o.Config.Migration.IngressNginx, a.log)
		a.objects = folder
		return nil, err
	}
	client, err := kube.NewClient(kube.Access{Servers: o.Config.APIServers, UserAgent: "fairlead/" + o.Version})
	if err != nil {
		return nil, err
	}
	a.watcher = kube.NewWatcher(client, o.Node, o.reads(), a.log)
	a.objects = a.watcher
	return client, nil
}

// newData returns where the gateway gets Secrets and ConfigMaps from.
func (a *Agent) newData(client *kube.Client) (dataSource, error) {
	if folder, ok := a.objects.(*kube.Folder); ok {
		if a.options.ACMEDir == "" {
			return folder, nil
		}
		made, err := openSecretDir(a.options.ACMEDir, folder)
		return secretData{made}, err
	}
	data := kube.NewDataWatcher(client, a.log)
	a.services = append(a.services, data.Run)
	return data, nil
}
