// Command bench is the proxier of kube-proxy in nftables mode as a child of
// hack/bench, without an API server.
//
// In go, on standard input, lines of JSON with objects that are new or changed;
// out comes, for each, a line that says what it took until the kernel had them.
// It works in the network namespace it is started in, and never leaves it.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	config "k8s.io/kubernetes/pkg/proxy/apis/config"
	"k8s.io/kubernetes/pkg/proxy/nftables"
	proxyutil "k8s.io/kubernetes/pkg/proxy/util"
)

// request holds objects that are new or changed.
type request struct {
	Services []*corev1.Service
	Slices   []*discoveryv1.EndpointSlice
}

// answer is what it took until the kernel had them, in nanoseconds.
type answer struct {
	Wall, CPU time.Duration
}

func main() {
	node := flag.String("node", "node", "name of the node")
	address := flag.String("address", "192.0.2.1", "address of the node")
	pods := flag.String("pods", "10.128.0.0/9", "addresses of pods")
	flag.Parse()
	if err := run(*node, *address, *pods); err != nil {
		fmt.Fprintln(os.Stderr, "kube-proxy:", err)
		os.Exit(1)
	}
}

func run(node, address, pods string) error {
	bit := int32(14)
	proxier, err := nftables.NewProxier(context.Background(), &config.KubeProxyConfiguration{
		NFTables: config.KubeProxyNFTablesConfiguration{MasqueradeBit: &bit},
		// The loop is not started: each request is written at once.
		SyncPeriod: metav1.Duration{Duration: 30 * time.Second}, MinSyncPeriod: metav1.Duration{Duration: time.Second},
	}, corev1.IPv4Protocol, proxyutil.NewDetectLocalByCIDR(pods), node, net.ParseIP(address), nil, nil, false)
	if err != nil {
		return err
	}
	requests, answers := json.NewDecoder(bufio.NewReaderSize(os.Stdin, 1<<20)), json.NewEncoder(os.Stdout)
	for first := true; ; first = false {
		var r request
		if err := requests.Decode(&r); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if first {
			runtime.GC() // what reading left behind is not the proxier's
		}
		if err := answers.Encode(apply(proxier, r)); err != nil {
			return err
		}
	}
}

// apply hands the objects over as informers do. The last call writes the rules
// before it returns.
func apply(proxier *nftables.Proxier, r request) answer {
	wall, cpu := time.Now(), cpuTime()
	for _, s := range r.Services {
		proxier.OnServiceAdd(s)
	}
	for _, s := range r.Slices {
		proxier.OnEndpointSliceAdd(s)
	}
	if len(r.Services) > 0 {
		proxier.OnServiceSynced()
	}
	proxier.OnEndpointSlicesSynced()
	return answer{Wall: time.Since(wall), CPU: cpuTime() - cpu}
}

// cpuTime is that of this process and of the nft programs that it ran.
func cpuTime() time.Duration {
	var sum time.Duration
	for _, who := range []int{unix.RUSAGE_SELF, unix.RUSAGE_CHILDREN} {
		var usage unix.Rusage
		if unix.Getrusage(who, &usage) == nil {
			sum += time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
		}
	}
	return sum
}
