// Command bench measures Fairlead beside kube-proxy in nftables mode, on this
// machine, in network namespaces that it makes and that end with it.
//
// In goes the path of the program that lab/bench builds; out comes the report
// docs/benchmarks/services.md on standard output, and progress on standard
// error. Each side runs in a process of its own, gets the same objects as JSON,
// and says itself what they cost; rounds of both sides alternate. It never
// touches the network of the machine, and a side that does not do its work ends
// the run with an error.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// options say how much is measured.
type options struct {
	peer  string
	quick bool
	only  string
}

func (o options) wants(part string) bool { return o.only == "" || o.only == part }

// size returns full, or much less where only the bench itself is tried out.
func (o options) size(full, quick int) int {
	if o.quick {
		return quick
	}
	return full
}

const unshared = "FAIRLEAD_BENCH_UNSHARED"

func main() {
	if len(os.Args) > 1 && os.Args[1] == "role" {
		exit(role(os.Args[2:]))
	}
	var o options
	flag.StringVar(&o.peer, "peer", "", "the program built from lab/bench")
	flag.BoolVar(&o.quick, "quick", false, "tiny sizes, to try the bench itself; the figures mean nothing")
	flag.StringVar(&o.only, "only", "", "one part: cold, changes, large, sockets, packets, memory")
	flag.Parse()
	if os.Getenv(unshared) == "" {
		exit(inMountNamespace())
	}
	exit(run(o))
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// inMountNamespace runs the bench where the bpffs that it mounts, and with them
// every pin, are gone when it ends, however it ends.
func inMountNamespace() error {
	cmd := exec.CommandContext(context.Background(), "/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), unshared+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &unix.SysProcAttr{Unshareflags: unix.CLONE_NEWNS}
	return cmd.Run()
}

func run(o options) (err error) {
	r := &report{}
	w, err := newWorld()
	if err != nil {
		return err
	}
	defer w.close()
	go w.closeOnSignal()
	start := time.Now()
	for _, part := range []struct {
		name    string
		measure func(options, *world, *report) error
	}{{"cold", cold}, {"changes", changes}, {"large", large}, {"sockets", sockets}, {"packets", packets}, {"memory", memory}} {
		if !o.wants(part.name) {
			continue
		}
		say("%s, %s after the start", part.name, time.Since(start).Round(time.Second))
		if err := part.measure(o, w, r); err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
	}
	r.print(os.Stdout)
	return nil
}

// role runs this program as one of the processes that are measured.
func role(args []string) error {
	roles := map[string]func([]string) error{"fairlead": fairleadMain, "client": clientMain, "server": serverMain}
	if len(args) == 0 || roles[args[0]] == nil {
		return fmt.Errorf("unknown role %q", slices.Concat(args, []string{""})[0])
	}
	return roles[args[0]](args[1:])
}

func say(format string, args ...any) { fmt.Fprintf(os.Stderr, "==> "+format+"\n", args...) }
