package kube

import (
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/scheme"
)

// apiServer serves lists, watches (with the initial events of KEP-3157) and
// single objects as JSON, and takes Events. It can be stopped and started again
// at the same address.
type apiServer struct {
	address string
	server  *httptest.Server

	mu       sync.Mutex
	version  int
	objects  map[string]map[string]runtime.Object // resource, then NAMESPACE/NAME
	history  []change
	oldest   int           // changes up to this version are forgotten
	changed  chan struct{} // closed at each change
	events   []*corev1.Event
	requests []string
	// refuse answers 403 for a resource; stopping ends the watches.
	refuse   map[string]bool
	stopping bool
	// unknown is a resource that the server does not have.
	unknown string
}

type change struct {
	version  int
	resource string
	kind     string
	object   runtime.Object
}

func newAPIServer(t *testing.T) *apiServer {
	t.Helper()
	s := &apiServer{address: "127.0.0.1:0", objects: map[string]map[string]runtime.Object{}, changed: make(chan struct{}), version: 1, refuse: map[string]bool{}}
	s.start(t)
	t.Cleanup(s.stop)
	return s
}

func (s *apiServer) start(t *testing.T) {
	t.Helper()
	listener, err := net.Listen("tcp", s.address)
	if err != nil {
		t.Fatal(err)
	}
	s.address = listener.Addr().String()
	s.mu.Lock()
	s.stopping = false
	s.mu.Unlock()
	s.server = &httptest.Server{Listener: listener, Config: &http.Server{Handler: http.HandlerFunc(s.serve)}}
	s.server.Start()
}

func (s *apiServer) stop() {
	s.mu.Lock()
	s.stopping = true
	s.announce()
	s.mu.Unlock()
	s.server.CloseClientConnections()
	s.server.Close()
}

// client returns a client that a kubeconfig leads to the server.
func (s *apiServer) client(t *testing.T) *Client {
	t.Helper()
	file := filepath.Join(t.TempDir(), "kubeconfig")
	content := `{"apiVersion": "v1", "kind": "Config", "current-context": "test",
		"clusters": [{"name": "test", "cluster": {"server": "http://` + s.address + `"}}],
		"contexts": [{"name": "test", "context": {"cluster": "test", "user": ""}}]}`
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	client, err := NewClient(Access{Kubeconfig: file, UserAgent: "fairlead/test"})
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func (s *apiServer) announce() {
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *apiServer) set(resource string, object metav1.Object) {
	s.change(resource, object, "MODIFIED")
}

func (s *apiServer) remove(resource string, object metav1.Object) {
	s.change(resource, object, "DELETED")
}

func (s *apiServer) change(resource string, object metav1.Object, kind string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.version++
	copied := object.(runtime.Object).DeepCopyObject()
	accessor := copied.(metav1.Object)
	accessor.SetResourceVersion(strconv.Itoa(s.version))
	key := accessor.GetNamespace() + "/" + accessor.GetName()
	if s.objects[resource] == nil {
		s.objects[resource] = map[string]runtime.Object{}
	}
	if _, there := s.objects[resource][key]; !there && kind == "MODIFIED" {
		kind = "ADDED"
	}
	s.objects[resource][key] = copied
	if kind == "DELETED" {
		delete(s.objects[resource], key)
	}
	s.history = append(s.history, change{s.version, resource, kind, copied})
	s.announce()
}

// forget drops the history, as etcd does when it compacts: watches from an
// older version are told to list again.
func (s *apiServer) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.version++
	s.history, s.oldest = nil, s.version
}

func (s *apiServer) setRefused(resource string, refused bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refuse[resource] = refused
}

func (s *apiServer) serve(w http.ResponseWriter, r *http.Request) {
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	parts = parts[slices.IndexFunc(parts, func(part string) bool { return strings.HasPrefix(part, "v1") })+1:]
	name := ""
	if len(parts) > 2 && parts[0] == "namespaces" {
		name, parts = parts[1]+"/", parts[2:]
	}
	resource := parts[0]
	if len(parts) > 1 {
		name += parts[1]
	}
	s.mu.Lock()
	s.requests = append(s.requests, r.Method+" "+r.URL.String()+" "+r.UserAgent())
	refused := s.refuse[resource]
	s.mu.Unlock()
	query := r.URL.Query()
	from, _ := strconv.Atoi(query.Get("resourceVersion"))
	switch {
	case resource == s.unknown:
		fail(w, apierrors.NewNotFound(schema.GroupResource{Resource: resource}, ""))
	case refused:
		fail(w, apierrors.NewForbidden(schema.GroupResource{Resource: resource}, name, errors.New("no such right")))
	case r.Method == http.MethodPost:
		s.takeEvent(w, r)
	case len(parts) > 1:
		s.get(w, resource, name)
	case query.Get("watch") == "":
		s.list(w, resource)
	case query.Get("sendInitialEvents") != "true" && from < s.forgotten():
		fail(w, apierrors.NewResourceExpired("too old"))
	default:
		s.watch(w, r, resource, from)
	}
}

func (s *apiServer) forgotten() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.oldest
}

func reply(w http.ResponseWriter, code int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(body)
}

func fail(w http.ResponseWriter, err *apierrors.StatusError) {
	status := err.Status()
	status.Kind, status.APIVersion = "Status", "v1"
	reply(w, int(status.Code), status)
}

func (s *apiServer) get(w http.ResponseWriter, resource, name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, object := range s.objects[resource] {
		if strings.TrimPrefix(key, "/") == name {
			reply(w, http.StatusOK, typed(object))
			return
		}
	}
	fail(w, apierrors.NewNotFound(schema.GroupResource{Resource: resource}, path.Base(name)))
}

func (s *apiServer) list(w http.ResponseWriter, resource string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	version, kind := kindOf(resource)
	items := []runtime.Object{}
	for _, object := range s.objects[resource] {
		items = append(items, typed(object))
	}
	reply(w, http.StatusOK, map[string]any{
		"kind": kind + "List", "apiVersion": version, "items": items,
		"metadata": map[string]string{"resourceVersion": strconv.Itoa(s.version)},
	})
}

func (s *apiServer) watch(w http.ResponseWriter, r *http.Request, resource string, from int) {
	w.Header().Set("Content-Type", "application/json")
	send := func(kind string, object any) {
		_ = json.NewEncoder(w).Encode(map[string]any{"type": kind, "object": object})
	}
	s.mu.Lock()
	if r.URL.Query().Get("sendInitialEvents") == "true" {
		for _, object := range s.objects[resource] {
			send("ADDED", typed(object))
		}
		from = s.version
		send("BOOKMARK", bookmark(resource, from))
	}
	for {
		for _, c := range s.history {
			if c.version > from && c.resource == resource {
				send(c.kind, typed(c.object))
				from = c.version
			}
		}
		more, stopping := s.changed, s.stopping
		s.mu.Unlock()
		w.(http.Flusher).Flush()
		if stopping {
			return
		}
		select {
		case <-more:
		case <-r.Context().Done():
			return
		}
		s.mu.Lock()
	}
}

func (s *apiServer) takeEvent(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	object, _, err := scheme.Codecs.UniversalDeserializer().Decode(body, nil, nil)
	event, ok := object.(*corev1.Event)
	if err != nil || !ok {
		fail(w, apierrors.NewBadRequest("not an Event"))
		return
	}
	s.mu.Lock()
	there := slices.ContainsFunc(s.events, func(e *corev1.Event) bool { return e.Namespace == event.Namespace && e.Name == event.Name })
	if !there {
		s.events = append(s.events, event)
	}
	s.mu.Unlock()
	if there {
		fail(w, apierrors.NewAlreadyExists(schema.GroupResource{Resource: "events"}, event.Name))
		return
	}
	reply(w, http.StatusCreated, typed(event))
}

func kindOf(resource string) (apiVersion, kind string) {
	kinds := map[string][2]string{
		"services": {"v1", "Service"}, "pods": {"v1", "Pod"}, "serviceimports": {"multicluster.x-k8s.io/v1alpha1", "ServiceImport"}, "namespaces": {"v1", "Namespace"}, "nodes": {"v1", "Node"}, "secrets": {"v1", "Secret"},
		"configmaps": {"v1", "ConfigMap"}, "deployments": {"apps/v1", "Deployment"}, "daemonsets": {"apps/v1", "DaemonSet"},
		"endpointslices": {"discovery.k8s.io/v1", "EndpointSlice"},
		"servicecidrs":   {"networking.k8s.io/v1", "ServiceCIDR"}, "ipaddresses": {"networking.k8s.io/v1", "IPAddress"},
		"ingresses": {"networking.k8s.io/v1", "Ingress"}, "ingressclasses": {"networking.k8s.io/v1", "IngressClass"},
		"ipaddresspools": {"metallb.io/v1beta1", "IPAddressPool"}, "l2advertisements": {"metallb.io/v1beta1", "L2Advertisement"},
		"bgpadvertisements": {"metallb.io/v1beta1", "BGPAdvertisement"}, "communities": {"metallb.io/v1beta1", "Community"},
		"bgppeers": {"metallb.io/v1beta2", "BGPPeer"}, "bfdprofiles": {"metallb.io/v1beta1", "BFDProfile"},
	}
	return kinds[resource][0], kinds[resource][1]
}

// bookmark marks the end of the initial events.
func bookmark(resource string, version int) any {
	apiVersion, kind := kindOf(resource)
	return map[string]any{"kind": kind, "apiVersion": apiVersion, "metadata": map[string]any{
		"resourceVersion": strconv.Itoa(version), "annotations": map[string]string{metav1.InitialEventsAnnotationKey: "true"},
	}}
}

// typed returns the object with its kind, which Go values do not carry.
func typed(object runtime.Object) runtime.Object {
	if _, knows := object.(*unstructured.Unstructured); knows {
		return object
	}
	kinds, _, err := scheme.Scheme.ObjectKinds(object)
	if err != nil {
		panic(err)
	}
	copied := object.DeepCopyObject()
	copied.GetObjectKind().SetGroupVersionKind(kinds[0])
	return copied
}
