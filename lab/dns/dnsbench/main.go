// Command dnsbench measures Fairlead's DNS server beside CoreDNS, Knot DNS and
// unbound, which serve the same names, on loopback in a network namespace of its
// own.
//
// In go sizes, as flags; out comes the report docs/benchmarks/dns.md on standard
// output, and progress on standard error. Every server is a process on the first
// processor, one of them busy at a time; the load comes from a process on the
// last processor and is answered or the run ends with an error. What is counted
// is answers per second of the server's CPU time, user and kernel.
//
// Fairlead's part in the kernel has no process. It and CoreDNS are asked by a pair of
// virtual interfaces, from another network namespace, and what is counted for both is
// the time in which the first processor was not idle, whatever it did.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// options say how much is measured.
type options struct {
	services, endpoints int
	rounds              int
	length              time.Duration
	knot, unbound       string
	// wire is set to measure only what is asked by the wire.
	wire bool
}

const unshared = "FAIRLEAD_DNSBENCH_UNSHARED"

func main() {
	if len(os.Args) > 2 && os.Args[1] == "role" {
		exit(role(os.Args[2], os.Args[3:]))
	}
	var o options
	flag.IntVar(&o.services, "services", 10_000, "Services in the cluster")
	flag.IntVar(&o.endpoints, "endpoints", 15, "endpoints of each")
	flag.IntVar(&o.rounds, "rounds", 5, "rounds, in which all servers take turns")
	flag.DurationVar(&o.length, "length", 3*time.Second, "time of each measurement")
	flag.StringVar(&o.knot, "knot", "/usr/sbin/knotd", "the program of Knot DNS")
	flag.StringVar(&o.unbound, "unbound", "/usr/sbin/unbound", "the program of unbound")
	flag.BoolVar(&o.wire, "wire", false, "measure only Fairlead's part in the kernel and CoreDNS, by a pair of virtual interfaces")
	flag.Parse()
	if os.Getenv(unshared) == "" {
		exit(inNetworkNamespace())
	}
	exit(run(o))
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "dnsbench:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// inNetworkNamespace runs this program where no rule of the machine's firewall
// costs time, and no port is taken.
func inNetworkNamespace() error {
	cmd := exec.CommandContext(context.Background(), "/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), unshared+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &unix.SysProcAttr{Unshareflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS, Pdeathsig: unix.SIGTERM}
	return cmd.Run()
}

// role runs this program as one of the processes of the bench.
func role(name string, args []string) error {
	switch name {
	case "fairlead":
		return fairleadMain(args)
	case "coredns":
		return coreDNSMain(args)
	case "api":
		return apiMain(args)
	case "load":
		return loadMain(args)
	}
	return fmt.Errorf("unknown role %q", name)
}

func run(o options) error {
	loopback, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	if err := netlink.LinkSetUp(loopback); err != nil {
		return fmt.Errorf("loopback cannot be used; run this as root: %w", err)
	}
	// What is mounted here is nobody else's.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("mounts of its own: %w", err)
	}
	directory, err := os.MkdirTemp("", "fairlead-dnsbench-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(directory) }()
	w := &world{directory: directory, options: o}
	defer w.close()
	if err := w.lay(); err != nil {
		return err
	}
	r := &report{}
	if err := measure(w, r); err != nil {
		return err
	}
	r.print(os.Stdout)
	return nil
}

func say(format string, args ...any) { fmt.Fprintf(os.Stderr, "==> "+format+"\n", args...) }
