package kubeproxy

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestLegacy names the command for iptables-legacy, which does what it must.
func TestLegacy(t *testing.T) {
	inNamespace(t)
	command(t, kept, "iptables-legacy-restore")
	if l := find(t); len(l.Manual) != 0 {
		t.Errorf("%q", l.Manual)
	}
	before := listing(t, "iptables-legacy-save", "-t", "nat")
	command(t, proxys, "iptables-legacy-restore", "--noflush")
	command(t, six(kept), "ip6tables-legacy-restore")
	l := find(t)
	if len(l.Manual) != 1 || !strings.HasPrefix(l.Manual[0], "chains of iptables-legacy: ") || !strings.Contains(l.Manual[0], "7 in table nat") {
		t.Fatalf("%q", l.Manual)
	}
	_, run, _ := strings.Cut(l.Manual[0], "run: ")
	command(t, "", "sh", "-c", run)
	if diff := cmp.Diff(before, listing(t, "iptables-legacy-save", "-t", "nat")); diff != "" {
		t.Errorf("the command (-before kube-proxy +after):\n%s", diff)
	}
	if l := find(t); len(l.Manual) != 0 {
		t.Errorf("%q", l.Manual)
	}
}

// TestLegacyUsedByOthers names a command that leaves what the chains of others,
// and an administrator's rule, need.
func TestLegacyUsedByOthers(t *testing.T) {
	for _, c := range []struct {
		program string
		rules   func(string) string
	}{
		{"iptables-legacy", func(s string) string { return s }}, {"ip6tables-legacy", six},
	} {
		t.Run(c.program, func(t *testing.T) {
			inNamespace(t)
			family := map[bool]string{true: "ip6", false: "ip"}[strings.HasPrefix(c.program, "ip6")]
			command(t, c.rules(kept), c.program+"-restore")
			command(t, c.rules(proxys), c.program+"-restore", "--noflush")
			for _, rule := range []string{"-N CNI-HOSTPORT-SETMARK", "-A CNI-HOSTPORT-SETMARK -j KUBE-MARK-MASQ", "-A CNI-HOSTPORT-DNAT -j CNI-HOSTPORT-SETMARK", "-A OUTPUT -p tcp -g KUBE-MARK-MASQ"} {
				command(t, "", append([]string{c.program, "-t", "nat"}, strings.Fields(rule)...)...)
			}
			l := find(t)
			for _, want := range []string{"KUBE-MARK-MASQ, which chain CNI-HOSTPORT-SETMARK of somebody else uses", "KUBE-MARK-MASQ, which a rule of somebody else in chain OUTPUT uses"} {
				if !slices.Contains(l.Kept, c.program+" table "+family+" nat: "+want) {
					t.Errorf("%q is missing in %q", want, l.Kept)
				}
			}
			if len(l.Manual) != 1 || !strings.Contains(l.Manual[0], "5 in table nat") {
				t.Fatalf("%q", l.Manual)
			}
			_, run, _ := strings.Cut(l.Manual[0], "run: ")
			command(t, "", "sh", "-c", run)
			after := strings.Join(listing(t, c.program+"-save", "-t", "nat"), "\n")
			for _, want := range []string{
				"-A CNI-HOSTPORT-SETMARK -j KUBE-MARK-MASQ", "-A KUBE-MARK-MASQ -j MARK", "-A KUBE-POSTROUTING -j MASQUERADE", "-j KUBE-POSTROUTING",
				"-A OUTPUT -p tcp -g KUBE-MARK-MASQ", "-A CNI-HOSTPORT-DNAT -p tcp -m tcp --dport 8080 -j DNAT",
			} {
				if !strings.Contains(after, want) {
					t.Errorf("%q is missing in\n%s", want, after)
				}
			}
			for _, gone := range []string{"KUBE-S", "KUBE-NODEPORTS", "KUBE-PROXY-CANARY"} {
				if strings.Contains(after, gone) {
					t.Errorf("left:\n%s", after)
				}
			}
			if l := find(t); len(l.Manual) != 0 {
				t.Errorf("%q", l.Manual)
			}
		})
	}
}

// FuzzParseLegacy reads what the kernel would never say.
func FuzzParseLegacy(f *testing.F) {
	f.Add([]byte{}, false)
	f.Add(make([]byte, 4*entryLength6), true)
	f.Fuzz(func(_ *testing.T, entries []byte, v6 bool) {
		_, _ = parseLegacy(map[bool]string{true: "ip6", false: "ip"}[v6], "nat", entries, []int{0, -1, -1, 152, 304})
	})
}
