package announce

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"sigs.k8s.io/yaml"

	"github.com/fairlead-net/fairlead/api/metallb"
	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/testkit"
)

// TestStories applies the objects of each file of a story and compares what comes
// of them with the file of the same name that ends in .table: what is new in the
// Table, in the Election and among the Reasons, and what is gone. Besides the kinds
// of Kubernetes and MetalLB there are Node, Nodes, Live, Password, Options and
// Delete.
func TestStories(t *testing.T) { testkit.Stories(t, tell) }

func tell(t *testing.T, story *txtar.Archive) []txtar.File {
	w := &telling{node: desired.Node{Name: "a", About: &desired.NodeObject{}}, options: options()}
	w.Synced = true
	var files []txtar.File
	for _, file := range story.Files {
		name, isYAML := strings.CutSuffix(file.Name, ".yaml")
		if !isYAML {
			continue
		}
		for _, document := range bytes.Split(file.Data, []byte("---\n")) {
			w.read(t, document)
		}
		files = append(files, file, testkit.File(name+".table", w.settle()))
	}
	return files
}

// telling is a story that is being told.
type telling struct {
	objects
	node    desired.Node
	options Options
	live    Live
	state   *desired.State
	table   Table
	shown   []string
}

// settle compiles, and writes what has changed.
func (w *telling) settle() string {
	var reasons []desired.Reason
	w.state, _ = desired.Build(w.Objects, w.node, w.state)
	w.table, reasons = Compile(w.state, w.table, w.options)
	lines := plain(w.table)
	for _, e := range Elect(w.table, w.live).Addresses {
		line := fmt.Sprint("elects for ", e.Address, ": ")
		if e.Owner == "" {
			line += "nobody"
		} else {
			line += e.Owner
		}
		if e.Owner == w.node.Name {
			line += fmt.Sprint(" ", e.Interfaces)
		}
		lines = append(lines, line+": "+e.Why)
	}
	for _, r := range reasons {
		lines = append(lines, "! "+r.Object.String()+" "+r.Code+": "+r.Message)
	}
	var b strings.Builder
	for _, line := range w.shown {
		if !slices.Contains(lines, line) {
			b.WriteString("- " + line + "\n")
		}
	}
	for _, line := range lines {
		if !slices.Contains(w.shown, line) {
			b.WriteString("+ " + line + "\n")
		}
	}
	w.shown = lines
	return b.String()
}

func read[T any](t *testing.T, document []byte) *T {
	t.Helper()
	o := new(T)
	must(t, yaml.UnmarshalStrict(document, o))
	return o
}

func (w *telling) read(t *testing.T, document []byte) {
	var kind struct{ Kind string }
	must(t, yaml.Unmarshal(document, &kind))
	a := &w.Addressing
	switch kind.Kind {
	case "Service":
		w.putService(read[corev1.Service](t, document))
	case "EndpointSlice":
		w.putSlice(read[discoveryv1.EndpointSlice](t, document))
	case "IPAddressPool":
		w.putPool(read[metallb.IPAddressPool](t, document))
	case "L2Advertisement":
		w.putL2(read[metallb.L2Advertisement](t, document))
	case "BGPAdvertisement":
		w.putBGP(read[metallb.BGPAdvertisement](t, document))
	case "BGPPeer":
		w.putPeer(read[metallb.BGPPeer](t, document))
	case "BFDProfile":
		o := read[metallb.BFDProfile](t, document)
		a.BFDProfiles = a.BFDProfiles.Set(inSystem(&o.ObjectMeta), desired.ParseBFDProfile(o))
	case "Community":
		o := read[metallb.Community](t, document)
		a.Communities = a.Communities.Set(inSystem(&o.ObjectMeta), desired.ParseCommunityNames(o))
	case "ServiceCIDR":
		o := read[networkingv1.ServiceCIDR](t, document)
		w.ServiceCIDRs = w.ServiceCIDRs.Set(o.Name, o)
	case "Password":
		o := read[struct {
			Kind, Name, Password string
			Unread               bool // all of them are
		}](t, document)
		a.PasswordsUnread = o.Unread
		a.Passwords = a.Passwords.Set(desired.Name{Namespace: system, Name: o.Name}, desired.Password(o.Password))
	default:
		w.readOwn(t, kind.Kind, document)
	}
}

// readOwn reads the kinds that no API server has.
func (w *telling) readOwn(t *testing.T, kind string, document []byte) {
	switch kind {
	case "Node":
		o := read[struct {
			Kind, Name  string
			Labels      map[string]string
			Unavailable string
			PodCIDRs    []netip.Prefix
			Unread      bool
		}](t, document)
		w.node = desired.Node{Name: o.Name, About: &desired.NodeObject{Labels: o.Labels, Unavailable: o.Unavailable, PodCIDRs: o.PodCIDRs}}
		if o.Unread {
			w.node.About = nil
		}
	case "Nodes":
		w.readNodes(t, document)
	case "Live":
		o := read[struct {
			Kind  string
			Nodes map[string]struct {
				Offers  []string
				Leaving bool
			}
		}](t, document)
		w.live = Live{Nodes: map[string]*Condition{}}
		for name, node := range o.Nodes {
			c := &Condition{Leaving: node.Leaving}
			for _, offer := range node.Offers {
				c.Offers = append(c.Offers, OfferHash(desired.Name{Namespace: system, Name: offer}))
			}
			slices.Sort(c.Offers)
			w.live.Nodes[name] = c
		}
	case "Options":
		o := read[struct {
			Kind    string
			Default bool
			Classes []string
			Routes  ExtraRoutes
		}](t, document)
		w.options = Options{NodeService: nodeService, Default: o.Default, Classes: o.Classes, Routes: o.Routes}
	case "Delete":
		w.delete(t, document)
	default:
		t.Fatalf("kind %q in %s", kind, document)
	}
}

// readNodes makes the EndpointSlices of the headless Service of the nodes.
func (w *telling) readNodes(t *testing.T, document []byte) {
	o := read[struct {
		Kind  string
		Nodes []struct{ Name, IP string }
	}](t, document)
	w.putNodeService()
	for _, family := range []discoveryv1.AddressType{discoveryv1.AddressTypeIPv4, discoveryv1.AddressTypeIPv6} {
		slice := &discoveryv1.EndpointSlice{AddressType: family}
		slice.Namespace, slice.Name = nodeService.Namespace, string(family)
		slice.Labels = map[string]string{discoveryv1.LabelServiceName: nodeService.Name}
		for _, n := range o.Nodes {
			if strings.Contains(n.IP, ":") == (family == discoveryv1.AddressTypeIPv6) {
				slice.Endpoints = append(slice.Endpoints, discoveryv1.Endpoint{Addresses: []string{n.IP}, NodeName: &n.Name})
			}
		}
		w.putSlice(slice)
	}
}

func (w *telling) delete(t *testing.T, document []byte) {
	o := read[struct{ Kind, Object, Name string }](t, document)
	a, name := &w.Addressing, desired.Name{Namespace: system, Name: o.Name}
	switch o.Object {
	case "Service":
		w.Services = w.Services.Delete(desired.Name{Namespace: "demo", Name: o.Name})
	case "EndpointSlice":
		w.Slices = w.Slices.Delete(desired.Name{Namespace: "demo", Name: o.Name})
	case "IPAddressPool":
		a.Pools = a.Pools.Delete(name)
	case "L2Advertisement":
		a.L2Advertisements = a.L2Advertisements.Delete(name)
	case "BGPAdvertisement":
		a.BGPAdvertisements = a.BGPAdvertisements.Delete(name)
	case "BGPPeer":
		a.Peers = a.Peers.Delete(name)
	default:
		t.Fatalf("deletes %q", o.Object)
	}
}
