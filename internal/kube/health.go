package kube

import (
	"context"
	"fmt"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
)

// health remembers which resources cannot be listed or watched, since when and
// why.
type health struct {
	mu     sync.Mutex
	failed map[string]failure
}

type failure struct {
	since time.Time
	err   error
}

func (h *health) note(resource string, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err == nil {
		delete(h.failed, resource)
		return
	}
	if h.failed == nil {
		h.failed = map[string]failure{}
	}
	since := time.Now()
	if old, ok := h.failed[resource]; ok {
		since = old.since
	}
	h.failed[resource] = failure{since, err}
}

// problem says what fails longest, or "".
func (h *health) problem(now time.Time) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var name string
	for resource, f := range h.failed {
		if worst, ok := h.failed[name]; !ok || f.since.Before(worst.since) {
			name = resource
		}
	}
	if name == "" {
		return ""
	}
	f := h.failed[name]
	return fmt.Sprintf("%s cannot be read from the API server since %s: %v; what was read before stays in force",
		name, now.Sub(f.since).Round(time.Second), f.err)
}

// observe returns lw with every success and failure noted.
func (h *health) observe(resource string, lw *cache.ListWatch) cache.ListerWatcher {
	return &observed{ListWatch: lw, note: func(err error) { h.note(resource, err) }}
}

type observed struct {
	*cache.ListWatch
	note func(error)
}

// ListWithContext lists and notes the outcome.
func (o *observed) ListWithContext(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
	list, err := o.ListWatch.ListWithContext(ctx, options)
	if apierrors.IsNotFound(err) {
		// A cluster too old for this kind has none of them.
		list, err = &metav1.List{}, nil
	}
	o.note(err)
	return list, err
}

// WatchWithContext watches and notes the outcome of its start.
func (o *observed) WatchWithContext(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
	w, err := o.ListWatch.WatchWithContext(ctx, options)
	if apierrors.IsNotFound(err) && options.SendInitialEvents == nil {
		// Nothing will come; looking again after some minutes finds an upgrade.
		w, err = silence(ctx), nil
	}
	o.note(err)
	return w, err
}

// silence is a watch without events that ends after some minutes.
func silence(ctx context.Context) watch.Interface {
	events := make(chan watch.Event)
	w := watch.NewProxyWatcher(events)
	go func() {
		defer close(events)
		select {
		case <-time.After(5 * time.Minute):
		case <-ctx.Done():
		case <-w.StopChan():
		}
	}()
	return w
}
