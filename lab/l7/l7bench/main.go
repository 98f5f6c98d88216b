// Command l7bench measures Fairlead's L7 engine beside nginx, HAProxy, Traefik and
// Caddy, on loopback in a network namespace of its own.
//
// In go sizes and the programs of the peers, as flags; out comes the report
// docs/benchmarks/l7.md on standard output, and progress on standard error. Every
// proxy is a process on the first processor, one of them busy at a time; this
// process is the load and the backend, on the last processor. Every answer is what
// it must be or the run ends with an error. What is counted is requests per second
// of the proxy's CPU time, user and kernel, of all its processes.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// options say how much is measured, and of what.
type options struct {
	rounds                         int
	length                         time.Duration
	idle, routes                   int
	nginx, haproxy, traefik, caddy string
	// only are the rows to measure, and "memory"; empty means all.
	only string
}

const unshared = "FAIRLEAD_L7BENCH_UNSHARED"

func main() {
	if len(os.Args) > 1 && os.Args[1] == "fairlead" {
		exit(fairleadMain(os.Args[2:]))
	}
	var o options
	flag.IntVar(&o.rounds, "rounds", 5, "rounds, in which all proxies take turns")
	flag.DurationVar(&o.length, "length", 3*time.Second, "time of each measurement")
	flag.IntVar(&o.idle, "idle", 10_000, "idle connections whose memory is measured")
	flag.IntVar(&o.routes, "routes", 5_000, "routes whose memory is measured")
	flag.StringVar(&o.only, "only", "", "rows to measure, separated by commas: h1, 64k, tls, h2, grpc, handshake, memory; empty means all")
	flag.StringVar(&o.nginx, "nginx", "/usr/sbin/nginx", "the program of nginx")
	flag.StringVar(&o.haproxy, "haproxy", "/usr/sbin/haproxy", "the program of HAProxy")
	flag.StringVar(&o.traefik, "traefik", "", "the program of Traefik")
	flag.StringVar(&o.caddy, "caddy", "", "the program of Caddy")
	flag.Parse()
	if err := o.check(); err != nil {
		exit(err)
	}
	if os.Getenv(unshared) == "" {
		exit(inNetworkNamespace())
	}
	exit(run(o))
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "l7bench:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// inNetworkNamespace runs this program on the load's processor, where no rule of the
// machine's firewall costs time, and no port is taken.
func inNetworkNamespace() error {
	if runtime.NumCPU() < 2 {
		return errors.New("a proxy and its load need two processors")
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(context.Background(), "taskset", append([]string{"-c", strconv.Itoa(runtime.NumCPU() - 1), self}, os.Args[1:]...)...)
	cmd.Env = append(os.Environ(), unshared+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &unix.SysProcAttr{Unshareflags: unix.CLONE_NEWNET, Pdeathsig: unix.SIGTERM}
	return cmd.Run()
}

func run(o options) error {
	loopback, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	if err := netlink.LinkSetUp(loopback); err != nil {
		return fmt.Errorf("loopback cannot be used; run this as root: %w", err)
	}
	address := &netlink.Addr{IPNet: netlink.NewIPNet(backendAddress.AsSlice())}
	if err := netlink.AddrAdd(loopback, address); err != nil {
		return fmt.Errorf("the address of the backend: %w", err)
	}
	// Those of connections that have ended stay taken for a while.
	if err := os.WriteFile("/proc/sys/net/ipv4/ip_local_port_range", []byte("10000 65535"), 0); err != nil {
		return err
	}
	// New connections are made by goroutines, which must not wait while the thread
	// of the backend does.
	runtime.GOMAXPROCS(4)
	directory, err := os.MkdirTemp("", "fairlead-l7bench-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(directory) }()
	w := &world{directory: directory, options: o}
	defer w.close()
	r := &report{}
	if err := measure(w, r); err != nil {
		return err
	}
	r.print(os.Stdout)
	return nil
}

func say(format string, args ...any) { fmt.Fprintf(os.Stderr, "==> "+format+"\n", args...) }
