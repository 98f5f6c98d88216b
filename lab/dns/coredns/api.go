package coredns

import (
	"encoding/json"
	"fmt"
	"net/http"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Objects are the objects of a cluster that have to do with names.
type Objects struct {
	Namespaces []*corev1.Namespace
	Services   []*corev1.Service
	Slices     []*discoveryv1.EndpointSlice
	Pods       []*corev1.Pod
}

// revision is the resource version of everything.
const revision = "1"

// API serves objects as an API server does to informers: lists, watches that
// begin with what there is (sendInitialEvents), and watches without events. The
// objects must not change afterwards.
func API(o Objects) (http.Handler, error) {
	mux := http.NewServeMux()
	if err := resource(mux, "/api/v1/namespaces", "v1", "Namespace", o.Namespaces); err != nil {
		return nil, err
	}
	if err := resource(mux, "/api/v1/services", "v1", "Service", o.Services); err != nil {
		return nil, err
	}
	if err := resource(mux, "/api/v1/pods", "v1", "Pod", o.Pods); err != nil {
		return nil, err
	}
	return mux, resource(mux, "/apis/discovery.k8s.io/v1/endpointslices", "discovery.k8s.io/v1", "EndpointSlice", o.Slices)
}

// collection is one kind of objects, encoded.
type collection struct {
	version, kind string
	items         []json.RawMessage
}

func resource[T any](mux *http.ServeMux, path, version, kind string, objects []T) error {
	c := collection{version: version, kind: kind}
	for _, object := range objects {
		encoded, err := json.Marshal(object)
		if err != nil {
			return fmt.Errorf("%s cannot be encoded: %w", kind, err)
		}
		// Objects without apiVersion and kind are as the Go types leave them.
		head := fmt.Sprintf(`{"apiVersion":%q,"kind":%q,`, version, kind)
		c.items = append(c.items, append([]byte(head), encoded[1:]...))
	}
	mux.HandleFunc("GET "+path, c.serve)
	return nil
}

func (c *collection) serve(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	query := r.URL.Query()
	if query.Get("watch") == "" {
		_ = json.NewEncoder(w).Encode(map[string]any{
			"apiVersion": c.version, "kind": c.kind + "List",
			"metadata": metav1.ListMeta{ResourceVersion: revision}, "items": c.items,
		})
		return
	}
	if query.Get("sendInitialEvents") == "true" {
		for _, item := range c.items {
			fmt.Fprintf(w, "{\"type\":\"ADDED\",\"object\":%s}\n", item)
		}
		fmt.Fprintf(w, "{\"type\":\"BOOKMARK\",\"object\":{\"apiVersion\":%q,\"kind\":%q,\"metadata\":{\"resourceVersion\":%q,\"annotations\":{%q:\"true\"}}}}\n",
			c.version, c.kind, revision, metav1.InitialEventsAnnotationKey)
	}
	if flusher, ok := w.(http.Flusher); ok {
		flusher.Flush()
	}
	<-r.Context().Done()
}
