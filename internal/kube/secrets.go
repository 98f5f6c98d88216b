package kube

import (
	"context"
	"log/slog"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/tools/cache"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/pmap"
)

// Secret is what is kept of a Secret. It is never changed.
type Secret struct {
	Type string
	Data map[string][]byte
}

func parseSecret(o *corev1.Secret) *Secret { return &Secret{Type: string(o.Type), Data: o.Data} }

// Secrets follows Secrets that are asked for by name, and reads no others. Make one
// with NewSecrets, and have it Run.
type Secrets struct {
	client  *Client
	log     *slog.Logger
	health  health
	changed chan struct{}

	mu   sync.Mutex
	want map[desired.Name]bool
	// wake tells Run that want is another one.
	wake chan struct{}
	// followed are those that Run follows.
	followed map[desired.Name]*followedSecret
}

type followedSecret struct {
	store *store[desired.Name, *corev1.Secret, *Secret]
	stop  context.CancelFunc
}

// NewSecrets returns what follows no Secret yet.
func NewSecrets(client *Client, log *slog.Logger) *Secrets {
	return &Secrets{
		client: client, log: log.With("component", "kube"), changed: make(chan struct{}, 1), wake: make(chan struct{}, 1),
		followed: map[desired.Name]*followedSecret{},
	}
}

// Want says which Secrets to follow from now on.
func (s *Secrets) Want(names map[desired.Name]bool) {
	s.mu.Lock()
	s.want = names
	s.mu.Unlock()
	poke(s.wake)
}

// Changed tells that Get may return something else.
func (s *Secrets) Changed() <-chan struct{} { return s.changed }

// Get returns those that exist of the wanted Secrets, by pointers that stay the same
// as long as the Secret does, and whether all of them have been asked for.
func (s *Secrets) Get() (pmap.Map[desired.Name, *Secret], bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := pmap.Map[desired.Name, *Secret]{}.Edit()
	complete := s.want != nil
	for name := range s.want {
		f := s.followed[name]
		if f == nil {
			complete = false
			continue
		}
		objects, synced := f.store.snapshot()
		complete = complete && synced
		if secret, ok := objects.Get(name); ok {
			all.Set(name, secret)
		}
	}
	return all.Map(), complete
}

// Run follows what is wanted until ctx ends.
func (s *Secrets) Run(ctx context.Context) error {
	var running sync.WaitGroup
	defer running.Wait()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.wake:
		}
		s.follow(ctx, &running)
		poke(s.changed)
	}
}

// follow begins to follow what is wanted, and ends to follow the rest.
func (s *Secrets) follow(ctx context.Context, running *sync.WaitGroup) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, f := range s.followed {
		if !s.want[name] {
			f.stop()
			delete(s.followed, name)
		}
	}
	for name := range s.want {
		if s.followed[name] != nil {
			continue
		}
		following, stop := context.WithCancel(ctx)
		f := &followedSecret{stop: stop, store: &store[desired.Name, *corev1.Secret, *Secret]{
			key: namespacedName, keep: parseSecret, changed: func() { poke(s.changed) },
		}}
		s.followed[name] = f
		lw := cache.NewListWatchFromClient(s.client.clientset.CoreV1().RESTClient(), "secrets", name.Namespace,
			fields.OneTermEqualSelector("metadata.name", name.Name))
		reflector := cache.NewReflectorWithOptions(s.health.observe("Secret "+name.String(), lw), &corev1.Secret{}, f.store,
			cache.ReflectorOptions{Name: "secrets", Backoff: patientBackoff()})
		running.Go(func() {
			reflector.RunWithContext(following)
			s.health.note("Secret "+name.String(), nil)
		})
	}
}

// poke wakes whoever waits on a channel, or will.
func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
