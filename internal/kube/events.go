package kube

import (
	"context"
	"log/slog"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/scheme"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/record"

	"github.com/fairlead-net/fairlead/api/metallb"
	"github.com/fairlead-net/fairlead/internal/desired"
)

// EventWriter tells users about their objects through Events. It drops what
// the API server does not take in time: Events are a courtesy, and the same
// reasons stay readable through the command line.
type EventWriter struct {
	client   *Client
	recorder record.EventRecorder
	stop     func()
}

// NewEventWriter returns a writer that Close must end.
func NewEventWriter(client *Client, log *slog.Logger) *EventWriter {
	broadcaster := record.NewBroadcasterWithCorrelatorOptions(record.CorrelatorOptions{QPS: 1.0 / 30, BurstSize: 25})
	broadcaster.StartStructuredLogging(4)
	broadcaster.StartRecordingToSink(&typedcorev1.EventSinkImpl{Interface: client.clientset.CoreV1().Events("")})
	log.With("component", "kube").Info("writing events")
	return &EventWriter{
		client:   client,
		recorder: broadcaster.NewRecorder(scheme.Scheme, corev1.EventSource{Component: "fairlead"}),
		stop:     broadcaster.Shutdown,
	}
}

// Write puts one warning per Reason on the object it concerns. The object's UID
// is looked up so that kubectl describe shows the Event.
func (w *EventWriter) Write(ctx context.Context, status desired.Status) error {
	return w.write(ctx, status, corev1.EventTypeWarning)
}

// Note puts an Event on an object that tells of something good.
func (w *EventWriter) Note(ctx context.Context, what desired.Reason) error {
	return w.write(ctx, desired.Status{Object: what.Object, Reasons: []desired.Reason{what}}, corev1.EventTypeNormal)
}

// Tell puts an Event on the object of a Reason: a warning, or not.
func (w *EventWriter) Tell(ctx context.Context, what desired.Reason, warning bool) error {
	if !warning {
		return w.Note(ctx, what)
	}
	return w.Write(ctx, desired.Status{Object: what.Object, Reasons: []desired.Reason{what}})
}

func (w *EventWriter) write(ctx context.Context, status desired.Status, kind string) error {
	ref := &corev1.ObjectReference{
		Kind: status.Object.Kind, Namespace: status.Object.Namespace, Name: status.Object.Name, APIVersion: "v1",
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	var object metav1.Object
	var err error
	switch ref.Kind {
	case "Service":
		object, err = w.client.clientset.CoreV1().Services(ref.Namespace).Get(ctx, ref.Name, metav1.GetOptions{})
	case "ConfigMap":
		object, err = w.client.clientset.CoreV1().ConfigMaps(ref.Namespace).Get(ctx, ref.Name, metav1.GetOptions{})
	case "EndpointSlice":
		ref.APIVersion = "discovery.k8s.io/v1"
		object, err = w.client.clientset.DiscoveryV1().EndpointSlices(ref.Namespace).Get(ctx, ref.Name, metav1.GetOptions{})
	case "Ingress":
		ref.APIVersion = "networking.k8s.io/v1"
		object, err = w.client.clientset.NetworkingV1().Ingresses(ref.Namespace).Get(ctx, ref.Name, metav1.GetOptions{})
	case "IngressClass":
		ref.APIVersion = "networking.k8s.io/v1"
		object, err = w.client.clientset.NetworkingV1().IngressClasses().Get(ctx, ref.Name, metav1.GetOptions{})
	default:
		if resource, known := metallb.ResourceOf(ref.Kind); known {
			ref.APIVersion = resource.GroupVersion().String()
			object, err = w.client.dynamic.Resource(resource).Namespace(ref.Namespace).Get(ctx, ref.Name, metav1.GetOptions{})
		}
	}
	if err != nil {
		return err
	}
	if object != nil {
		ref.UID, ref.ResourceVersion = object.GetUID(), object.GetResourceVersion()
	}
	for _, reason := range status.Reasons {
		w.recorder.Event(ref, kind, reason.Code, reason.Message)
	}
	return nil
}

// Close sends what is pending and ends the writer.
func (w *EventWriter) Close() { w.stop() }
