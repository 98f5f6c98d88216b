package kube

import (
	"context"
	"fmt"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/tools/cache"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/pmap"
)

// configMaps holds the ConfigMaps that the configuration names, each in a store of its
// own: who may read one may not be allowed to read the others of its namespace.
type configMaps struct {
	of map[desired.Name]*store[desired.Name, *corev1.ConfigMap, *desired.ConfigMap]

	mu   sync.Mutex
	last pmap.Map[desired.Name, *desired.ConfigMap]
}

func newConfigMaps(names [3]desired.Name, changed func()) *configMaps {
	c := &configMaps{of: map[desired.Name]*store[desired.Name, *corev1.ConfigMap, *desired.ConfigMap]{}}
	for _, name := range names {
		if name == (desired.Name{}) {
			continue
		}
		c.of[name] = &store[desired.Name, *corev1.ConfigMap, *desired.ConfigMap]{key: namespacedName, keep: desired.ParseConfigMap, changed: changed}
	}
	return c
}

// snapshot returns those that exist, in the same map as long as they are the same, and
// whether all of them have been asked for.
func (c *configMaps) snapshot() (pmap.Map[desired.Name, *desired.ConfigMap], bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	synced := true
	for name, kept := range c.of {
		objects, is := kept.snapshot()
		synced = synced && is
		now, exists := objects.Get(name)
		switch before, had := c.last.Get(name); {
		case exists && before != now:
			c.last = c.last.Set(name, now)
		case had && !exists:
			c.last = c.last.Delete(name)
		}
	}
	return c.last, synced
}

// followConfigMaps keeps the stores equal to what the API server has.
func (w *Watcher) followConfigMaps(ctx context.Context, running *sync.WaitGroup) {
	for name, kept := range w.configMaps.of {
		lw := cache.NewListWatchFromClient(w.client.clientset.CoreV1().RESTClient(), "configmaps", name.Namespace,
			fields.OneTermEqualSelector("metadata.name", name.Name))
		w.reflect(ctx, running, "configmaps "+name.String(), lw, &corev1.ConfigMap{}, kept)
	}
}

// listConfigMaps reads the same once.
func (c *Client) listConfigMaps(ctx context.Context, names [3]desired.Name, into *desired.Objects) error {
	for _, name := range names {
		if name == (desired.Name{}) {
			continue
		}
		o, err := c.clientset.CoreV1().ConfigMaps(name.Namespace).Get(ctx, name.Name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return fmt.Errorf("get ConfigMap %s: %w", name, err)
		}
		into.ConfigMaps = into.ConfigMaps.Set(name, desired.ParseConfigMap(o))
	}
	return nil
}
