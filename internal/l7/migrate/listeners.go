package migrate

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gateway "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/fairlead-net/fairlead/internal/l7"
)

// doors are the listeners of a class.
type doors struct {
	name string
	// secured are the hosts that have a certificate; "" is every other one.
	secured map[string]l7.CertificateID
	remarks
}

// add has a listener for a host, with the certificate that it has now.
func (d *doors) add(host string, l *l7.Listener) {
	switch id, own := l.Certificates.Get(host); {
	case own:
		d.secured[host] = id
	default:
		_, rest, _ := strings.Cut(host, ".")
		if id, ok := l.Certificates.Get("*." + rest); ok && rest != "" {
			d.secured["*."+rest] = id
		} else if id, ok := l.Certificates.Get(""); ok {
			d.secured[""] = id
		}
	}
}

// section names the listener of a host within TLS.
func section(host string) gateway.SectionName {
	if rest, ok := strings.CutPrefix(host, "*."); ok {
		return gateway.SectionName("https-any." + rest)
	}
	if host == "" {
		return "https"
	}
	return gateway.SectionName("https." + host)
}

// of returns the listener that serves a host within TLS, and whether there is one.
func (d *doors) of(host string) (string, bool) {
	_, rest, _ := strings.Cut(host, ".")
	for _, name := range []string{host, "*." + rest, ""} {
		if _, ok := d.secured[name]; ok {
			return name, true
		}
	}
	return "", false
}

// parents names the listeners of a host: that without TLS, or that within TLS.
func (d *doors) parents(to Target, host string, secured bool) (gateway.ParentReference, bool) {
	ref := gateway.ParentReference{Namespace: ptr(gateway.Namespace(to.Namespace)), Name: gateway.ObjectName(d.name), SectionName: ptr(gateway.SectionName("http"))}
	if !secured {
		return ref, true
	}
	name, ok := d.of(host)
	if !ok {
		return ref, false
	}
	ref.SectionName = ptr(section(name))
	at, _ := slices.BinarySearch(slices.Sorted(maps.Keys(d.secured)), name)
	if set := (at + 1) / maxListeners; set > 0 {
		ref.Group, ref.Kind, ref.Name = ptr(gateway.Group(gateway.GroupName)), ptr(gateway.Kind("ListenerSet")), gateway.ObjectName(d.set(set))
	}
	return ref, true
}

func (d *doors) set(n int) string { return fmt.Sprintf("%s-%d", d.name, n+1) }

// documents are the Gateway, and ListenerSets for the listeners that it has no place for.
func (d *doors) documents(to Target) []Document {
	everyone := &gateway.AllowedRoutes{Namespaces: &gateway.RouteNamespaces{From: ptr(gateway.NamespacesFromAll)}}
	listeners := []gateway.Listener{{Name: "http", Port: 80, Protocol: gateway.HTTPProtocolType, AllowedRoutes: everyone}}
	for _, host := range slices.Sorted(maps.Keys(d.secured)) {
		id := d.secured[host]
		made := gateway.Listener{Name: section(host), Port: 443, Protocol: gateway.HTTPSProtocolType, AllowedRoutes: everyone}
		if host != "" {
			made.Hostname = ptr(gateway.Hostname(host))
		}
		ref := gateway.SecretObjectReference{Name: gateway.ObjectName(id.Name)}
		if id.Namespace != to.Namespace {
			ref.Namespace = ptr(gateway.Namespace(id.Namespace))
		}
		made.TLS = &gateway.ListenerTLSConfig{Mode: ptr(gateway.TLSModeTerminate), CertificateRefs: []gateway.SecretObjectReference{ref}}
		listeners = append(listeners, made)
	}
	g := &gateway.Gateway{TypeMeta: typeMeta("Gateway"), ObjectMeta: metav1.ObjectMeta{Namespace: to.Namespace, Name: d.name}}
	g.Spec.GatewayClassName = gateway.ObjectName(to.GatewayClass)
	g.Spec.Listeners = listeners[:min(len(listeners), maxListeners)]
	all := []Document{{Object: g, Notes: d.notes}}
	for from := maxListeners; from < len(listeners); from += maxListeners {
		g.Spec.AllowedListeners = &gateway.AllowedListeners{Namespaces: &gateway.ListenerNamespaces{From: ptr(gateway.NamespacesFromSame)}}
		set := &gateway.ListenerSet{TypeMeta: typeMeta("ListenerSet"), ObjectMeta: metav1.ObjectMeta{Namespace: to.Namespace, Name: d.set(from / maxListeners)}}
		set.Spec.ParentRef.Name = gateway.ObjectName(d.name)
		for _, l := range listeners[from:min(len(listeners), from+maxListeners)] {
			set.Spec.Listeners = append(set.Spec.Listeners, gateway.ListenerEntry{Name: l.Name, Hostname: l.Hostname, Port: l.Port, Protocol: l.Protocol, TLS: l.TLS, AllowedRoutes: l.AllowedRoutes})
		}
		all = append(all, Document{Object: set})
	}
	return all
}
