package corefile

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/fairlead-net/fairlead/internal/desired"
)

// Kubernetes is the directive kubernetes: names of the cluster.
type Kubernetes struct {
	// Zones as they are served: those named, else those of the server block.
	Zones []string
	// Pods is disabled, insecure or verified.
	Pods string
	// TTL in seconds.
	TTL              int
	EndpointPodNames bool
	NoEndpoints      bool
	IgnoreEmpty      bool
	Namespaces       []string
	// NamespaceLabels and Labels are label selectors.
	NamespaceLabels, Labels string
	Multicluster            []string
	Zonal                   bool
	StartupTimeout          time.Duration
	// Fallthrough are the zones whose unknown names other directives answer.
	Fallthrough Fallthrough
}

// Fallthrough says for which zones a name that is not found goes on to the next
// directive; without zones, for all that the directive has.
type Fallthrough struct {
	On    bool
	Zones []string
}

func (l *line) fallthroughs(into *Fallthrough) { *into = Fallthrough{true, l.zones(0)} }

// Domain returns the first zone that is neither a reverse one nor of several
// clusters, without final dot.
func (k Kubernetes) Domain() string {
	for _, zone := range k.Zones {
		if !isReverse(zone) && !slices.Contains(k.Multicluster, zone) {
			return strings.TrimSuffix(zone, ".")
		}
	}
	return ""
}

// trimmed returns zones without their final dots.
func trimmed(zones []string) []string {
	var all []string
	for _, zone := range zones {
		all = append(all, strings.TrimSuffix(zone, "."))
	}
	return all
}

// Effect implements Setting.
func (k Kubernetes) Effect() string {
	said := []string{"no names of pods"}
	switch k.Pods {
	case "insecure":
		said[0] = "names of pods for any address"
	case "verified":
		said[0] = "names of pods for addresses that pods of the namespace have"
	}
	say := func(is bool, text string) {
		if is {
			said = append(said, text)
		}
	}
	say(k.EndpointPodNames, "endpoints named after their pods")
	say(k.NoEndpoints, "no endpoints and headless Services")
	say(k.IgnoreEmpty, "no Services without ready endpoints")
	say(len(k.Namespaces) > 0, "namespaces "+strings.Join(k.Namespaces, " ")+" alone")
	say(k.NamespaceLabels != "", "namespaces with labels "+k.NamespaceLabels+" alone")
	say(k.Labels != "", "Services with labels "+k.Labels+" alone")
	say(k.Zonal, "endpoints of headless Services by zone")
	if len(k.Multicluster) > 0 {
		said = append(said, "ServiceImports below "+strings.Join(trimmed(k.Multicluster), " "))
	}
	upstream := "reverse names"
	if names := k.Fallthrough.names(k.Zones); len(names) > 0 {
		upstream += " and names in " + strings.Join(names, " ")
	}
	return fmt.Sprintf("names of the cluster below %s, TTL %d s, %s; %s that are not the cluster's are asked upstream", k.Domain(), k.TTL, strings.Join(said, ", "), upstream)
}

// readKubernetes follows CoreDNS's plugin/kubernetes, README and setup.
func readKubernetes(l *line) Setting {
	k := Kubernetes{Zones: l.zones(0), Pods: "disabled", TTL: 5}
	if len(l.args()) == 0 {
		for _, key := range l.server.Keys {
			k.Zones = append(k.Zones, key.Zone)
		}
	}
	flag := func(set *bool) func(*line) {
		return func(o *line) { *set = o.takes(0, 0, "") }
	}
	ignored := func(least, most int, usage string) func(*line) {
		return func(o *line) { o.takes(least, most, usage) }
	}
	known := options{
		"pods": func(o *line) {
			if o.takes(1, 1, "disabled|insecure|verified") {
				k.Pods = o.choice(0, "disabled", "insecure", "verified")
			}
		},
		"ttl": func(o *line) {
			if o.takes(1, 1, "SECONDS") {
				k.TTL = o.number(0, 0, 3600)
			}
		},
		"fallthrough":        func(o *line) { o.fallthroughs(&k.Fallthrough) },
		"endpoint_pod_names": flag(&k.EndpointPodNames),
		"noendpoints":        flag(&k.NoEndpoints),
		"zonal":              flag(&k.Zonal),
		"ignore": func(o *line) {
			if o.takes(1, 1, "empty_service") {
				k.IgnoreEmpty = o.choice(0, "empty_service") != ""
			}
		},
		"namespaces":       func(o *line) { o.takes(1, -1, "NAMESPACE..."); k.Namespaces = o.texts(0) },
		"namespace_labels": func(o *line) { k.NamespaceLabels = o.selector() },
		"labels":           func(o *line) { k.Labels = o.selector() },
		"multicluster":     func(o *line) { o.takes(1, -1, "ZONE..."); k.Multicluster = o.zones(0) },
		"startup_timeout":  func(o *line) { o.takes(1, 1, "DURATION"); k.StartupTimeout = o.duration(0, 0) },
		"endpoint":         ignored(1, -1, "URL"),
		"tls":              ignored(3, 3, "CERT KEY CACERT"),
		"kubeconfig":       ignored(1, 2, "FILE [CONTEXT]"),
		"resyncperiod":     ignored(0, -1, "DURATION"),
		"upstream":         ignored(0, -1, ""),
		"apiserver_qps":    ignored(1, 1, "NUMBER"), "apiserver_burst": ignored(1, 1, "NUMBER"), "apiserver_max_inflight": ignored(1, 1, "NUMBER"),
	}
	l.options(known)
	k.check(l)
	return k
}

// selector reads all arguments as a label selector.
func (l *line) selector() string {
	if !l.takes(1, -1, "SELECTOR") {
		return ""
	}
	text := strings.Join(l.texts(0), " ")
	if _, err := desired.ParseSelector(text); err != nil {
		l.mistake("%s: %q is no label selector such as team=a,stage!=test: %v", l.path, text, err)
		return ""
	}
	return text
}

// check looks at what several options say together.
func (k Kubernetes) check(l *line) {
	forward := 0
	for _, zone := range k.Zones {
		if !isReverse(zone) && !slices.Contains(k.Multicluster, zone) {
			forward++
		}
	}
	if forward == 0 {
		l.mistake("kubernetes names no zone but reverse ones; add the cluster's, as in \"kubernetes cluster.local in-addr.arpa ip6.arpa\"")
	}
	if forward > 1 {
		l.lacks("kubernetes zones")
	}
	for _, zone := range k.Multicluster {
		if !slices.Contains(k.Zones, zone) {
			l.mistake("kubernetes multicluster: the zone %s is not one of the directive's own; name it after \"kubernetes\", too", zone)
		}
	}
	if k.Zonal && k.NoEndpoints {
		l.mistake("kubernetes has both zonal and noendpoints; zones are those of endpoints, remove one of them")
	}
	if k.NoEndpoints && k.IgnoreEmpty {
		l.lacks("kubernetes noendpoints and ignore")
	}
	if len(k.Namespaces) > 0 && k.NamespaceLabels != "" {
		l.mistake("kubernetes has both namespaces and namespace_labels; keep one of them")
	}
}
