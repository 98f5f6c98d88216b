package bgp

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/vishvananda/netns"
)

// start runs a program in the router until the test ends.
func (r *router) start(name string, args ...string) {
	r.t.Helper()
	if _, err := os.Stat(name); err != nil {
		r.t.Fatalf("the tests need the Debian packages frr and bird2: %v", err)
	}
	command := exec.Command(name, args...)
	output, err := os.Create(filepath.Join(r.dir, filepath.Base(name)+".out"))
	must(r.t, err)
	command.Stdout, command.Stderr = output, output
	apart(r.t, func() {
		if err := netns.Set(r.ns); err != nil {
			r.t.Error(err)
			return
		}
		if err := command.Start(); err != nil {
			r.t.Error(err)
		}
	})
	r.t.Cleanup(func() {
		_ = command.Process.Kill()
		_ = command.Wait()
		_ = output.Close()
	})
}

// folder makes one that daemons of a user can write to; the paths of sockets in it
// are short enough.
func (r *router) folder(owner string) {
	r.t.Helper()
	dir, err := os.MkdirTemp("", "bgp")
	must(r.t, err)
	r.dir = dir
	r.t.Cleanup(func() { _ = os.RemoveAll(dir) })
	u, err := user.Lookup(owner)
	if err != nil {
		r.t.Fatalf("the tests need the Debian packages frr and bird2: %v", err)
	}
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(u.Gid)
	must(r.t, os.Chown(dir, uid, gid))
	must(r.t, os.Chmod(dir, 0o755))
}

// frr starts zebra, bfdd and bgpd with a configuration of bgpd.
func (r *router) frr(config string) {
	r.t.Helper()
	r.folder("frr")
	file := func(name, content string) string {
		path := filepath.Join(r.dir, name)
		must(r.t, os.WriteFile(path, []byte(content), 0o644))
		return path
	}
	common := func(daemon, config string) []string {
		return []string{
			"-A", "127.0.0.1", "-P", "0", "-z", filepath.Join(r.dir, "zserv"), "--vty_socket", r.dir, "--log", "stdout",
			"-i", filepath.Join(r.dir, daemon+".pid"), "-f", file(daemon+".conf", config),
		}
	}
	const base = "/usr/lib/frr/"
	r.start(base+"zebra", common("zebra", "")...)
	await(r.t, "zebra is up", func() bool { _, err := os.Stat(filepath.Join(r.dir, "zserv")); return err == nil })
	r.start(base+"bfdd", append(common("bfdd", ""), "--bfdctl", filepath.Join(r.dir, "bfdd.sock"))...)
	r.start(base+"bgpd", common("bgpd", config)...)
	await(r.t, "bgpd and bfdd are up", func() bool {
		_, bgp := os.Stat(filepath.Join(r.dir, "bgpd.vty"))
		_, bfd := os.Stat(filepath.Join(r.dir, "bfdd.vty"))
		return bgp == nil && bfd == nil
	})
}

// vtysh asks FRR, or configures it.
func (r *router) vtysh(commands ...string) string {
	r.t.Helper()
	args := []string{"--vty_socket", r.dir}
	for _, c := range commands {
		args = append(args, "-c", c)
	}
	output, err := exec.Command("/usr/bin/vtysh", args...).CombinedOutput()
	if err != nil {
		r.t.Fatalf("vtysh %q: %v\n%s", commands, err, output)
	}
	return string(output)
}

// learned is a route as FRR has it.
type learned struct {
	Path      string `json:"path"`
	LocalPref uint32 `json:"locPrf"`
	Stale     bool   `json:"stale"`
	Nexthops  []struct {
		IP    string `json:"ip"`
		Scope string `json:"scope"`
		Used  bool   `json:"used"`
	} `json:"nexthops"`
}

// routes returns what FRR has learned from the node.
func (r *router) routes() map[string]learned {
	r.t.Helper()
	all := map[string]learned{}
	for _, family := range []string{"ipv4", "ipv6"} {
		var table struct {
			Routes map[string][]learned `json:"routes"`
		}
		text := r.vtysh("show bgp " + family + " unicast json")
		if err := json.Unmarshal([]byte(text), &table); err != nil {
			r.t.Fatalf("%v\n%s", err, text)
		}
		for p, paths := range table.Routes {
			all[p] = paths[0]
		}
	}
	return all
}

// communities returns those of a route, standard ones and large ones.
func (r *router) communities(prefix string) string {
	r.t.Helper()
	family := "ipv4"
	if strings.Contains(prefix, ":") {
		family = "ipv6"
	}
	var route struct {
		Paths []struct {
			Community, LargeCommunity struct{ String string }
		}
	}
	text := r.vtysh("show bgp " + family + " unicast " + prefix + " json")
	if err := json.Unmarshal([]byte(text), &route); err != nil || len(route.Paths) == 0 {
		return ""
	}
	return strings.TrimSpace(route.Paths[0].Community.String + " " + route.Paths[0].LargeCommunity.String)
}

// has waits for the router to have just these routes of the node.
func (r *router) has(prefixes ...string) {
	r.t.Helper()
	var got map[string]learned
	await(r.t, fmt.Sprintf("the router has %q", prefixes), func() bool {
		got = r.routes()
		for _, p := range prefixes {
			if _, ok := got[p]; !ok {
				return false
			}
		}
		return len(got) == len(prefixes)
	}, func() string { return fmt.Sprintf("it has %+v\n%s", got, r.vtysh("show bgp summary")) })
}

// frrConfig returns that of a router of an AS which has the node as its neighbour, by
// both addresses.
func frrConfig(r *router, as, nodeAS int, more ...string) string {
	text := fmt.Sprintf("router bgp %d\n bgp router-id %s\n no bgp ebgp-requires-policy\n no bgp network import-check\n", as, r.own4)
	for _, a := range []netip.Addr{r.node4, r.node6} {
		text += fmt.Sprintf(" neighbor %s remote-as %d\n neighbor %s timers 3 9\n neighbor %s timers connect 2\n", a, nodeAS, a, a)
	}
	for _, line := range more {
		text += " " + line + "\n"
	}
	return text + fmt.Sprintf(" address-family ipv6 unicast\n  neighbor %s activate\n  neighbor %s activate\n exit-address-family\n", r.node4, r.node6)
}

// bird starts BIRD, of AS 64514, with the node as its neighbour: by IPv4 for IPv4, by
// IPv6 for both families.
func (r *router) bird() {
	r.t.Helper()
	r.folder("bird")
	config := fmt.Sprintf(`router id %s;
protocol device {}
protocol bfd { interface "eth0" { min rx interval 100 ms; min tx interval 100 ms; multiplier 30; }; }
protocol bgp four { local %s as 64514; neighbor %s as 64512; hold time 9; bfd on; ipv4 { import all; export none; }; }
protocol bgp six {
  local %s as 64514; neighbor %s as 64512; hold time 9;
  ipv4 { import all; export none; extended next hop on; };
  ipv6 { import all; export none; };
}
`, r.own4, r.own4, r.node4, r.own6, r.node6)
	file := filepath.Join(r.dir, "bird.conf")
	must(r.t, os.WriteFile(file, []byte(config), 0o644))
	r.start("/usr/sbin/bird", "-f", "-c", file, "-s", filepath.Join(r.dir, "s"), "-P", filepath.Join(r.dir, "pid"))
	await(r.t, "BIRD is up", func() bool { _, err := os.Stat(filepath.Join(r.dir, "s")); return err == nil })
}

// birdc asks BIRD.
func (r *router) birdc(command ...string) string {
	r.t.Helper()
	output, err := exec.Command("/usr/sbin/birdc", append([]string{"-s", filepath.Join(r.dir, "s")}, command...)...).CombinedOutput()
	if err != nil {
		r.t.Fatalf("birdc %q: %v\n%s", command, err, output)
	}
	return string(output)
}
