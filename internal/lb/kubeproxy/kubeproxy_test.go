package kubeproxy

import (
	"errors"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"github.com/fairlead-net/fairlead/internal/lb/nft"
)

// inNamespace moves the test to a network namespace of its own.
func inNamespace(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("this test makes a network namespace: run it as root")
	}
	runtime.LockOSThread() // never unlocked: the thread ends with the test
	ns, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close() })
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// command runs a program in the test's namespace.
func command(t *testing.T, input string, args ...string) string {
	t.Helper()
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdin = strings.NewReader(input)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v (Debian packages iptables and nftables): %v\n%s", args, err, out)
	}
	return string(out)
}

// kept is what others have in the tables that kube-proxy writes to: the kubelet,
// a CNI plugin for host ports, kube-router.
const kept = `*nat
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:CNI-HOSTPORT-DNAT - [0:0]
:KUBE-KUBELET-CANARY - [0:0]
:KUBE-MARK-DROP - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT
-A CNI-HOSTPORT-DNAT -p tcp -m tcp --dport 8080 -j DNAT --to-destination 10.244.0.9:80
-A KUBE-MARK-DROP -j MARK --set-xmark 0x8000/0x8000
COMMIT
*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
:KUBE-FIREWALL - [0:0]
:KUBE-POD-FW-ABCDEFGHIJKLMNOP - [0:0]
-A INPUT -j KUBE-FIREWALL
-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT
-A FORWARD -j KUBE-POD-FW-ABCDEFGHIJKLMNOP
-A KUBE-FIREWALL -m mark --mark 0x8000/0x8000 -j DROP
COMMIT
`

// proxys is what kube-proxy adds in iptables mode, for one Service.
const proxys = `*nat
:KUBE-SERVICES - [0:0]
:KUBE-NODEPORTS - [0:0]
:KUBE-POSTROUTING - [0:0]
:KUBE-MARK-MASQ - [0:0]
:KUBE-PROXY-CANARY - [0:0]
:KUBE-SVC-TCOU7JCQXEZGVUNU - [0:0]
:KUBE-SEP-YIL6JZP7A3QYXJU2 - [0:0]
-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A OUTPUT -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A POSTROUTING -m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING
-A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000
-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN
-A KUBE-POSTROUTING -j MARK --set-xmark 0x4000/0x0
-A KUBE-POSTROUTING -j MASQUERADE --random-fully
-A KUBE-SEP-YIL6JZP7A3QYXJU2 -p tcp -j DNAT --to-destination 10.244.0.5:53
-A KUBE-SERVICES -d 10.96.0.10/32 -p tcp -m tcp --dport 53 -j KUBE-SVC-TCOU7JCQXEZGVUNU
-A KUBE-SERVICES -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS
-A KUBE-SVC-TCOU7JCQXEZGVUNU ! -s 10.244.0.0/16 -d 10.96.0.10/32 -p tcp -m tcp --dport 53 -j KUBE-MARK-MASQ
-A KUBE-SVC-TCOU7JCQXEZGVUNU -m comment --comment "KUBE-SVL-ABCDEFGHIJKLMNOP is no chain here" -j KUBE-SEP-YIL6JZP7A3QYXJU2
COMMIT
*filter
:KUBE-FORWARD - [0:0]
:KUBE-EXTERNAL-SERVICES - [0:0]
-A INPUT -m conntrack --ctstate NEW -j KUBE-EXTERNAL-SERVICES
-A FORWARD -j KUBE-FORWARD
-A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP
COMMIT
*mangle
:KUBE-PROXY-CANARY - [0:0]
COMMIT
`

// six makes the rules those of IPv6.
func six(rules string) string {
	return strings.NewReplacer("10.244.0.9:80", "[fd00:244::9]:80", "10.244.0.5:53", "[fd00:244::5]:53", "10.96.0.10/32", "fd00:96::a/128", "10.244.0.0/16", "fd00:244::/56").Replace(rules)
}

// listing is what a program shows, without counters, comments and empty tables.
func listing(t *testing.T, args ...string) []string {
	t.Helper()
	var lines []string
	for line := range strings.Lines(command(t, "", args...)) {
		if !strings.HasPrefix(line, "#") && line != "COMMIT\n" && !strings.HasPrefix(line, "*") {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	slices.Sort(lines)
	return lines
}

func find(t *testing.T) *Leftovers {
	t.Helper()
	l, err := Find()
	must(t, err)
	return l
}

// TestNothing finds nothing in a fresh namespace.
func TestNothing(t *testing.T) {
	inNamespace(t)
	l := find(t)
	if len(l.Removable)+len(l.Kept)+len(l.Manual) != 0 {
		t.Errorf("%+v", l)
	}
	must(t, l.Remove())
}

// TestIPTablesOverNftables removes kube-proxy's rules from tables of
// iptables-nft, and leaves exactly what was there before kube-proxy came.
func TestIPTablesOverNftables(t *testing.T) {
	inNamespace(t)
	programs := []string{"iptables-nft", "ip6tables-nft"}
	before := map[string][]string{}
	for i, program := range programs {
		rules := []func(string) string{func(s string) string { return s }, six}[i]
		command(t, rules(kept), program+"-restore")
		before[program] = listing(t, program+"-save")
		command(t, rules(proxys), program+"-restore", "--noflush")
	}
	l := find(t)
	text := strings.Join(append(l.Removable, l.Kept...), "\n")
	for _, want := range []string{
		"iptables (nf_tables) table ip nat: 7 chains, such as ", " and 3 jumps there from others", "table ip6 filter: 2 chains, such as KUBE-FORWARD, KUBE-EXTERNAL-SERVICES, and 2 jumps",
		"iptables (nf_tables) table ip mangle: 1 chain, such as KUBE-PROXY-CANARY, and 0 jumps", "table ip filter: KUBE-FIREWALL, which the kubelet looks after", "table ip6 nat: KUBE-MARK-DROP, KUBE-KUBELET-CANARY, which the kubelet",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in\n%s", want, text)
		}
	}
	if len(l.Removable) != 6 || len(l.Kept) != 4 || len(l.Manual) != 0 {
		t.Errorf("%+v", l)
	}
	must(t, l.Remove())
	for _, program := range programs {
		after := slices.DeleteFunc(listing(t, program+"-save"), func(line string) bool {
			// The empty mangle table, which did not exist before.
			return slices.Contains([]string{":PREROUTING ACCEPT [0:0]", ":INPUT ACCEPT [0:0]", ":OUTPUT ACCEPT [0:0]", ":POSTROUTING ACCEPT [0:0]", ":FORWARD ACCEPT [0:0]"}, line)
		})
		want := slices.DeleteFunc(before[program], func(line string) bool {
			return slices.Contains([]string{":PREROUTING ACCEPT [0:0]", ":INPUT ACCEPT [0:0]", ":OUTPUT ACCEPT [0:0]", ":POSTROUTING ACCEPT [0:0]"}, line)
		})
		if diff := cmp.Diff(want, after); diff != "" {
			t.Errorf("%s (-before kube-proxy +after the cleanup):\n%s", program, diff)
		}
	}
	if l := find(t); len(l.Removable) != 0 {
		t.Errorf("left: %q", l.Removable)
	}
}

// TestUsedByOthers keeps what another program's chain jumps to, and what makes
// it work.
func TestUsedByOthers(t *testing.T) {
	inNamespace(t)
	command(t, kept, "iptables-nft-restore")
	command(t, proxys, "iptables-nft-restore", "--noflush")
	command(t, "", "iptables-nft", "-t", "nat", "-I", "CNI-HOSTPORT-DNAT", "-p", "tcp", "-j", markMasq)
	l := find(t)
	if !slices.Contains(l.Kept, "iptables (nf_tables) table ip nat: KUBE-MARK-MASQ, which chain CNI-HOSTPORT-DNAT of somebody else uses") {
		t.Errorf("%q", l.Kept)
	}
	must(t, l.Remove())
	after := strings.Join(listing(t, "iptables-nft-save", "-t", "nat"), "\n")
	for _, want := range []string{"-A CNI-HOSTPORT-DNAT -p tcp -j KUBE-MARK-MASQ", "-A KUBE-POSTROUTING -j MASQUERADE", `-j KUBE-POSTROUTING`, "-A KUBE-MARK-MASQ -j MARK"} {
		if !strings.Contains(after, want) {
			t.Errorf("%q is missing in\n%s", want, after)
		}
	}
	if strings.Contains(after, "KUBE-S") || strings.Contains(after, "KUBE-NODEPORTS") {
		t.Errorf("left:\n%s", after)
	}
}

// TestUsedByAdministrator keeps what a rule needs that somebody wrote into a chain
// by which packets enter.
func TestUsedByAdministrator(t *testing.T) {
	inNamespace(t)
	command(t, proxys, "iptables-nft-restore")
	command(t, "", "iptables-nft", "-t", "nat", "-A", "OUTPUT", "-d", "192.0.2.7", "-j", markMasq)
	l := find(t)
	if !slices.Contains(l.Kept, "iptables (nf_tables) table ip nat: KUBE-MARK-MASQ, which a rule of somebody else in chain OUTPUT uses") || len(l.Kept) != 1 {
		t.Errorf("%q", l.Kept)
	}
	must(t, l.Remove())
	after := strings.Join(listing(t, "iptables-nft-save", "-t", "nat"), "\n")
	for _, want := range []string{"-A OUTPUT -d 192.0.2.7/32 -j KUBE-MARK-MASQ", "-A KUBE-POSTROUTING -j MASQUERADE", "-j KUBE-POSTROUTING", "-A KUBE-MARK-MASQ -j MARK"} {
		if !strings.Contains(after, want) {
			t.Errorf("%q is missing in\n%s", want, after)
		}
	}
	if strings.Contains(after, "KUBE-S") {
		t.Errorf("left:\n%s", after)
	}
}

// TestNftables removes kube-proxy's tables and no other, and all the rest that
// its ipvs mode leaves.
func TestNftables(t *testing.T) {
	inNamespace(t)
	command(t, `table ip kube-proxy { chain services { type nat hook prerouting priority -100; jump nodeports; }; chain nodeports { }; }
table ip6 kube-proxy { chain services { }; }
table inet kube-proxy { chain mine { }; }
table inet fairlead { chain mine { }; }
table ip other { chain KUBE-SERVICES-OF-MINE { }; }`, "nft", "-f", "-")
	veth := netlink.NewVeth(netlink.LinkAttrs{Name: Interface})
	veth.PeerName = "peer"
	must(t, netlink.LinkAdd(veth))
	link, err := netlink.LinkByName(Interface)
	must(t, err)
	address, err := netlink.ParseAddr("10.96.0.1/32")
	must(t, err)
	must(t, netlink.AddrAdd(link, address))
	for _, set := range []string{"KUBE-CLUSTER-IP", "KUBE-6-LOOP-BACK", "MINE"} {
		must(t, netlink.IpsetCreate(set, "hash:ip", netlink.IpsetCreateOptions{}))
	}
	must(t, os.WriteFile("/proc/sys/net/ipv4/conf/all/arp_ignore", []byte("1"), 0))
	l := find(t)
	want := &Leftovers{
		Removable: []string{
			"nftables table ip kube-proxy, with 2 chains", "nftables table ip6 kube-proxy, with 1 chain",
			"interface kube-ipvs0, for 1 IP of Services", "2 ipsets, such as KUBE-CLUSTER-IP",
		},
		Manual: []string{"sysctl net.ipv4.conf.all.arp_ignore is 1, as kube-proxy sets it (ipvs mode); if nobody else needs it: sysctl -w net.ipv4.conf.all.arp_ignore=0"},
	}
	if diff := cmp.Diff(want.Removable, l.Removable) + cmp.Diff(want.Manual, l.Manual) + cmp.Diff(want.Kept, l.Kept); diff != "" {
		t.Error(diff)
	}
	must(t, l.Remove())
	if got := command(t, "", "nft", "list", "tables"); got != "table inet kube-proxy\ntable inet fairlead\ntable ip other\n" {
		t.Errorf("left:\n%s", got)
	}
	if _, err := netlink.LinkByName(Interface); err == nil {
		t.Error("the interface is still there")
	}
	sets, err := netlink.IpsetListAll()
	must(t, err)
	if len(sets) != 1 || sets[0].SetName != "MINE" {
		t.Errorf("%+v", sets)
	}
}

// TestChangedMeanwhile removes nothing that was not looked at.
func TestChangedMeanwhile(t *testing.T) {
	inNamespace(t)
	command(t, "table ip kube-proxy { chain services { }; }", "nft", "-f", "-")
	l := find(t)
	command(t, "table ip other { }", "nft", "-f", "-")
	must(t, netlink.IpsetCreate("KUBE-CLUSTER-IP", "hash:ip", netlink.IpsetCreateOptions{}))
	l.sets = []string{"KUBE-CLUSTER-IP"}
	if err := l.Remove(); !errors.Is(err, nft.ErrChanged) || !strings.Contains(err.Error(), "nothing was removed, try again") {
		t.Errorf("Remove = %v", err)
	}
	if sets, err := netlink.IpsetListAll(); err != nil || len(sets) != 1 {
		t.Errorf("%d ipsets are left, want that of the rules: %v", len(sets), err)
	}
	if got := command(t, "", "nft", "list", "tables"); !strings.Contains(got, "table ip kube-proxy") {
		t.Errorf("left:\n%s", got)
	}
}

// TestIPVS reads what the kernel shows (net/netfilter/ipvs/ip_vs_ctl.c).
func TestIPVS(t *testing.T) {
	got := parseIPVS(`IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port Forward Weight ActiveConn InActConn
TCP  0A600001:01BB rr
  -> C0A80001:192B      Masq    1      0          0
UDP  [fd00:0096:0000:0000:0000:0000:0000:000a]:0035 rr
SCTP C0A80002:7530 rr persistent 10800
FWM  00000001 rr
`)
	want := []ipvsServer{{"-t", "10.96.0.1:443"}, {"-u", "[fd00:0096:0000:0000:0000:0000:0000:000a]:53"}, {"--sctp-service", "192.168.0.2:30000"}}
	if !slices.Equal(got, want) {
		t.Errorf("%v", got)
	}
}

// TestNames separates kube-proxy's names from those of others.
func TestNames(t *testing.T) {
	ours := isChain()
	for name, want := range map[string]bool{
		"KUBE-SERVICES": true, "KUBE-SVC-TCOU7JCQXEZGVUNU": true, "KUBE-XLB-TCOU7JCQXEZGVUNU": true, "KUBE-IPVS-OUT-FILTER": true,
		"KUBE-SERVICES-2": false, "KUBE-SVC-short": false, "KUBE-ROUTER-INPUT": false, "KUBE-FIREWALL": false, "KUBE-MARK-DROP": false, "X-KUBE-SERVICES": false,
	} {
		if ours(name) != want {
			t.Errorf("chain %s: %v", name, !want)
		}
	}
	for name, want := range map[string]bool{
		"KUBE-CLUSTER-IP": true, "KUBE-6-LOAD-BALANCER-SOURCE-CID": true, "KUBE-6-NODE-PORT-LOCAL-SCTP-HAS": true, "KUBE-CLUSTER": false, "KUBE-DST-ABC": false,
	} {
		if isSet(name) != want {
			t.Errorf("ipset %s: %v", name, !want)
		}
	}
}
