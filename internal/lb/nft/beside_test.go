package nft

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/lb"
)

// kubeProxy is one way in which kube-proxy writes rules.
type kubeProxy struct {
	name        string
	add, remove []string // commands for sh
	input       string   // of the first command
}

// iptablesRules are those of kube-proxy in iptables mode for Service shop.
const iptablesRules = `*nat
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:KUBE-SERVICES - [0:0]
:KUBE-NODEPORTS - [0:0]
:KUBE-POSTROUTING - [0:0]
:KUBE-MARK-MASQ - [0:0]
:KUBE-EXT-NMMS7NLLXYZ23456 - [0:0]
:KUBE-SVC-NMMS7NLLXYZ23456 - [0:0]
:KUBE-SEP-NMMS7NLLXYZ23456 - [0:0]
-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A OUTPUT -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A POSTROUTING -m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING
-A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000
-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN
-A KUBE-POSTROUTING -j MARK --set-xmark 0x4000/0x0
-A KUBE-POSTROUTING -j MASQUERADE --random-fully
-A KUBE-SERVICES -d 10.96.0.1/32 -p tcp -m tcp --dport 80 -j KUBE-SVC-NMMS7NLLXYZ23456
-A KUBE-SERVICES -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS
-A KUBE-NODEPORTS -p tcp -m tcp --dport 30080 -j KUBE-EXT-NMMS7NLLXYZ23456
-A KUBE-EXT-NMMS7NLLXYZ23456 -j KUBE-MARK-MASQ
-A KUBE-EXT-NMMS7NLLXYZ23456 -j KUBE-SVC-NMMS7NLLXYZ23456
-A KUBE-SVC-NMMS7NLLXYZ23456 -j KUBE-SEP-NMMS7NLLXYZ23456
-A KUBE-SEP-NMMS7NLLXYZ23456 -p tcp -m tcp -j DNAT --to-destination 10.244.0.2:8080
COMMIT
`

func kubeProxies(t *testing.T) []kubeProxy {
	t.Helper()
	table, err := os.ReadFile("testdata/kube-proxy.nft")
	if err != nil {
		t.Fatal(err)
	}
	all := []kubeProxy{{"nftables", []string{"nft -f -"}, []string{"nft delete table ip kube-proxy"}, string(table)}}
	for _, variant := range []string{"iptables-nft", "iptables-legacy"} {
		all = append(all, kubeProxy{variant, []string{variant + "-restore"}, []string{variant + "-save | grep -v KUBE- | " + variant + "-restore"}, iptablesRules})
	}
	return all
}

// shell runs commands in the node.
func (w *world) shell(commands []string, input string) {
	w.t.Helper()
	for _, text := range commands {
		w.in(w.node, func() error {
			cmd := exec.Command("sh", "-c", text)
			cmd.Stdin = strings.NewReader(input)
			if out, err := cmd.CombinedOutput(); err != nil {
				return fmt.Errorf("%s (Debian packages iptables and nftables): %w: %s", text, err, out)
			}
			return nil
		})
	}
}

// asking are the places that connect to Service shop, and where to.
func asking() map[lb.Place]string {
	return map[lb.Place]string{lb.Pod: "10.96.0.1:80", lb.Host: "10.96.0.1:80", lb.Outside: nodeIP4 + ":30080"}
}

// connections opens one from each place and expects all at one backend.
func (w *world) connections(backend string) map[lb.Place]net.Conn {
	w.t.Helper()
	all := map[lb.Place]net.Conn{}
	for place, to := range asking() {
		c, err := w.dial(w.place(place), desired.TCP, to, long)
		if err != nil {
			w.t.Fatalf("%s: %v", place, err)
		}
		all[place] = c
	}
	w.goOn(all, backend, "a new connection")
	return all
}

// goOn expects open connections to work and to be where they were.
func (w *world) goOn(all map[lb.Place]net.Conn, backend, when string) {
	w.t.Helper()
	for place, c := range all {
		if got := talk(c, long); got.err != nil || got.backend != backend {
			w.t.Errorf("%s, from %s: %+v, want an answer from %s", when, place, got, backend)
		}
	}
}

// TestBesideKubeProxy holds what docs/migration-kube-proxy.md promises, for each
// way in which kube-proxy writes rules: no connection ends, neither on the way to
// Fairlead nor back, and whose table is younger decides about new ones. The two
// have different endpoints here, so that one sees who decided.
func TestBesideKubeProxy(t *testing.T) {
	const theirs, ours = "10.244.0.2:8080", "10.244.0.3:8080"
	for _, k := range kubeProxies(t) {
		t.Run(k.name, func(t *testing.T) {
			w := newWorld(t, 3)
			w.serve(w.pods[2], desired.TCP, theirs)
			w.serve(w.pods[3], desired.TCP, ours)
			want := table(map[lb.Frontend]*lb.Entry{
				frontendOf("10.96.0.1:80", desired.TCP):  {Choice: choiceOf(ours)},
				frontendOf("0.0.0.0:30080", desired.TCP): {Choice: choiceOf(ours)},
			})
			w.shell(k.add, k.input)
			first := w.connections(theirs)

			p := w.plane()
			w.apply(p, want)
			w.goOn(first, theirs, "Fairlead came")
			second := w.connections(ours)

			w.shell(k.remove, "")
			w.goOn(first, theirs, "kube-proxy's rules went")
			w.goOn(second, ours, "kube-proxy's rules went")
			third := w.connections(ours)

			// The way back. Tables of iptables are still there, though empty.
			w.shell(k.add, k.input)
			w.goOn(third, ours, "kube-proxy came back")
			back := theirs
			if k.name == "iptables-legacy" {
				back = ours
			}
			fourth := w.connections(back)
			p.Close()
			w.in(w.node, Remove)
			w.goOn(first, theirs, "Fairlead's rules went")
			w.goOn(third, ours, "Fairlead's rules went")
			w.goOn(fourth, back, "Fairlead's rules went")
			w.connections(theirs)
		})
	}
}

// TestUDPBesideKubeProxy expects a UDP socket that sends on and on to stay where
// kube-proxy sent it, if that endpoint is still one, and to go elsewhere if not.
func TestUDPBesideKubeProxy(t *testing.T) {
	const theirs, other = "10.244.0.2:8080", "10.244.0.3:8080"
	k := kubeProxies(t)[0]
	w := newWorld(t, 3)
	w.serve(w.pods[2], desired.UDP, theirs)
	w.serve(w.pods[3], desired.UDP, other)
	f := frontendOf("10.96.0.3:53", desired.UDP)
	w.shell(k.add, k.input)
	c, err := w.dial(w.pods[1], desired.UDP, "10.96.0.3:53", long)
	if err != nil {
		t.Fatal(err)
	}
	follows(t, c, theirs)
	p := w.plane()
	w.apply(p, table(map[lb.Frontend]*lb.Entry{f: {Choice: choiceOf(theirs, other)}}))
	w.shell(k.remove, "")
	if got := talk(c, long); got.backend != theirs {
		t.Errorf("%+v, want an answer from %s", got, theirs)
	}
	w.apply(p, table(map[lb.Frontend]*lb.Entry{f: {Choice: choiceOf(other)}}))
	follows(t, c, other)
}
