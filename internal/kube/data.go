package kube

import (
	"context"
	"log/slog"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/cache"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/pmap"
)

// DataName names a Secret, or a ConfigMap.
type DataName struct {
	ConfigMap bool
	desired.Name
}

// String returns KIND NAMESPACE/NAME.
func (n DataName) String() string {
	if n.ConfigMap {
		return "ConfigMap " + n.Name.String()
	}
	return "Secret " + n.Name.String()
}

// Data is what is kept of a Secret or a ConfigMap. It is never changed.
type Data struct {
	// Type is that of a Secret.
	Type string
	Keys map[string][]byte
}

func parseSecret(o *corev1.Secret) *Data { return &Data{Type: string(o.Type), Keys: o.Data} }

func parseConfigMap(o *corev1.ConfigMap) *Data {
	d := &Data{Keys: map[string][]byte{}}
	for key, text := range o.Data {
		d.Keys[key] = []byte(text)
	}
	for key, data := range o.BinaryData {
		d.Keys[key] = data
	}
	return d
}

// DataWatcher follows Secrets and ConfigMaps that are asked for by name, and reads no
// others. Make one with NewDataWatcher, and have it Run.
type DataWatcher struct {
	client  *Client
	log     *slog.Logger
	health  health
	changed chan struct{}

	mu   sync.Mutex
	want map[DataName]bool
	// wake tells Run that want is another one.
	wake chan struct{}
	// followed are those that Run follows.
	followed map[DataName]*followedData
}

type followedData struct {
	get  func() (*Data, bool)
	stop context.CancelFunc
}

// NewDataWatcher returns what follows nothing yet.
func NewDataWatcher(client *Client, log *slog.Logger) *DataWatcher {
	return &DataWatcher{
		client: client, log: log.With("component", "kube"), changed: make(chan struct{}, 1), wake: make(chan struct{}, 1),
		followed: map[DataName]*followedData{},
	}
}

// Want says what to follow from now on.
func (w *DataWatcher) Want(names map[DataName]bool) {
	w.mu.Lock()
	w.want = names
	w.mu.Unlock()
	poke(w.wake)
}

// Changed tells that Get may return something else.
func (w *DataWatcher) Changed() <-chan struct{} { return w.changed }

// Get returns those that exist of the wanted objects, by pointers that stay the same as
// long as the object does, and whether all of them have been asked for.
func (w *DataWatcher) Get() (pmap.Map[DataName, *Data], bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := pmap.Map[DataName, *Data]{}.Edit()
	complete := w.want != nil
	for name := range w.want {
		f := w.followed[name]
		if f == nil {
			complete = false
			continue
		}
		data, synced := f.get()
		complete = complete && synced
		if data != nil {
			all.Set(name, data)
		}
	}
	return all.Map(), complete
}

// Run follows what is wanted until ctx ends.
func (w *DataWatcher) Run(ctx context.Context) error {
	var running sync.WaitGroup
	defer running.Wait()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-w.wake:
		}
		w.follow(ctx, &running)
		poke(w.changed)
	}
}

// follow begins to follow what is wanted, and ends to follow the rest.
func (w *DataWatcher) follow(ctx context.Context, running *sync.WaitGroup) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for name, f := range w.followed {
		if !w.want[name] {
			f.stop()
			delete(w.followed, name)
		}
	}
	for name := range w.want {
		if w.followed[name] != nil {
			continue
		}
		following, stop := context.WithCancel(ctx)
		if name.ConfigMap {
			w.followed[name] = &followedData{followOne(following, running, w, name, "configmaps", &corev1.ConfigMap{}, parseConfigMap), stop}
		} else {
			w.followed[name] = &followedData{followOne(following, running, w, name, "secrets", &corev1.Secret{}, parseSecret), stop}
		}
	}
}

// followOne follows one object, and returns how to get what it holds.
func followOne[T comparable](ctx context.Context, running *sync.WaitGroup, w *DataWatcher, name DataName, resource string, kind runtime.Object, keep func(T) *Data) func() (*Data, bool) {
	kept := &store[desired.Name, T, *Data]{key: namespacedName, keep: keep, changed: func() { poke(w.changed) }}
	lw := cache.NewListWatchFromClient(w.client.clientset.CoreV1().RESTClient(), resource, name.Namespace,
		fields.OneTermEqualSelector("metadata.name", name.Name.Name))
	reflector := cache.NewReflectorWithOptions(w.health.observe(name.String(), lw), kind, kept, cache.ReflectorOptions{Name: resource, Backoff: patientBackoff()})
	running.Go(func() {
		reflector.RunWithContext(ctx)
		w.health.note(name.String(), nil)
	})
	return func() (*Data, bool) {
		objects, synced := kept.snapshot()
		data, _ := objects.Get(name.Name)
		return data, synced
	}
}

// poke wakes whoever waits on a channel, or will.
func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
