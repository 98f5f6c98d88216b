package ipam

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/fairlead-net/fairlead/api/metallb"
	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/testkit"
)

// TestStories applies the objects of each file of a story to an API server and
// compares what comes of them with the file of the same name that ends in .table:
// what is new in the Table and among the Reasons, the Effects, and again until there
// are no Effects. Besides the kinds of Kubernetes and MetalLB there are Options, Claim
// and Delete.
func TestStories(t *testing.T) { testkit.Stories(t, tell) }

func tell(t *testing.T, story *txtar.Archive) []txtar.File {
	w := &telling{server: newServer(), options: Options{Default: true}}
	var files []txtar.File
	for _, file := range story.Files {
		name, isYAML := strings.CutSuffix(file.Name, ".yaml")
		if !isYAML {
			continue
		}
		for _, document := range bytes.Split(file.Data, []byte("---\n")) {
			w.read(t, document)
		}
		files = append(files, file, testkit.File(name+".table", w.settle(t)))
	}
	return files
}

// telling is a story that is being told.
type telling struct {
	*server
	options Options
	state   *desired.State
	table   Table
	shown   []string
}

func (w *telling) read(t *testing.T, document []byte) {
	var kind struct{ Kind string }
	must(t, yaml.Unmarshal(document, &kind))
	switch kind.Kind {
	case "Service":
		o := &corev1.Service{}
		must(t, yaml.UnmarshalStrict(document, o))
		w.put(o)
	case "IPAddressPool":
		o := &metallb.IPAddressPool{}
		must(t, yaml.UnmarshalStrict(document, o))
		w.putPool(o)
	case "Namespace":
		o := &corev1.Namespace{}
		must(t, yaml.UnmarshalStrict(document, o))
		w.putNamespace(o.Name, o.Labels)
	case "Options":
		var o struct {
			Kind    string
			Default bool
			Classes []string
		}
		must(t, yaml.UnmarshalStrict(document, &o))
		w.options = Options{Default: o.Default, Classes: o.Classes}
	case "Claim":
		var o struct {
			Kind, Address, Foreign string
			Services               []string
		}
		must(t, yaml.UnmarshalStrict(document, &o))
		claim := &desired.Claim{Address: netip.MustParseAddr(o.Address), Foreign: o.Foreign}
		for _, name := range o.Services {
			claim.Services = append(claim.Services, named(name))
		}
		w.objects.Addressing.Claims = w.objects.Addressing.Claims.Set(claim.Address, claim)
	case "Delete":
		var o struct{ Kind, Service, Pool string }
		must(t, yaml.UnmarshalStrict(document, &o))
		if o.Pool != "" {
			w.objects.Addressing.Pools = w.objects.Addressing.Pools.Delete(desired.Name{Namespace: "metallb-system", Name: o.Pool})
		} else {
			w.remove(named(o.Service))
		}
	default:
		t.Fatalf("kind %q in %s", kind.Kind, document)
	}
}

func named(text string) desired.Name {
	namespace, name, ok := strings.Cut(text, "/")
	if !ok {
		return desired.Name{Namespace: "demo", Name: text}
	}
	return desired.Name{Namespace: namespace, Name: name}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// settle compiles and applies until nothing changes, and writes what happens.
func (w *telling) settle(t *testing.T) string {
	var b strings.Builder
	for round := 1; ; round++ {
		if round > 8 {
			t.Fatalf("does not settle:\n%s", b.String())
		}
		var reasons []desired.Reason
		w.state, _ = desired.Build(w.objects, desired.Node{}, w.state)
		w.table, reasons = Compile(w.state, w.table, w.options)
		e := w.table.Effects()
		lines := show(w.table, reasons)
		fresh := without(lines, w.shown)
		w.shown = lines
		if round > 1 && len(fresh) > 0 {
			b.WriteString("then\n")
		}
		for _, line := range fresh {
			b.WriteString(line + "\n")
		}
		if e.Empty() {
			return b.String()
		}
		b.WriteString(describe(e))
		if refused := w.apply(e); refused > 0 {
			fmt.Fprintf(&b, "  (%d refused)\n", refused)
		}
	}
}

// show writes a Table and reasons in lines.
func show(t Table, reasons []desired.Reason) []string {
	var lines []string
	for name, a := range t.Services.All() {
		line := name.String() + ":"
		for i, address := range a.Addresses {
			line += " " + address.String() + " (" + a.Pools[i].Name + ")"
		}
		if len(a.Addresses) == 0 {
			line += " none"
		}
		lines = append(lines, line)
	}
	for name, u := range t.Pools.All() {
		lines = append(lines, fmt.Sprintf("pool %s: IPv4 %d+%d, IPv6 %d+%d", name.Name, u.Assigned4, u.Available4, u.Assigned6, u.Available6))
	}
	slices.Sort(lines)
	for _, r := range reasons {
		lines = append(lines, "! "+r.Object.String()+" "+r.Code+": "+r.Message)
	}
	return lines
}
