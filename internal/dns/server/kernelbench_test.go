package server

import (
	"maps"
	"net/netip"
	"runtime"
	"slices"
	"testing"
	"time"
	"unsafe"

	wire "github.com/miekg/dns"
	"golang.org/x/sys/unix"

	"github.com/fairlead-net/fairlead/internal/dns/kernel"
)

// kernelQuestions are an address of a ClusterIP, a name without data, one of a search
// path that does not exist, 16 addresses, and pass, which the kernel leaves alone.
func kernelQuestions(t testing.TB) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	for name, m := range map[string]*wire.Msg{
		"hit":    query("web.shop.svc.cluster.local.", wire.TypeA).SetEdns0(1232, false),
		"plain":  query("web.shop.svc.cluster.local.", wire.TypeA),
		"nodata": query("shop.svc.cluster.local.", wire.TypeAAAA).SetEdns0(1232, false),
		"miss":   query("www.example.com.shop.svc.cluster.local.", wire.TypeA).SetEdns0(1232, false),
		"many":   query("big.shop.svc.cluster.local.", wire.TypeA).SetEdns0(1232, false),
		"pass":   query("www.example.com.", wire.TypeA).SetEdns0(1232, false),
	} {
		packed, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		all[name] = packed
	}
	return all
}

// BenchmarkKernel times the program alone, for an address, for other answers, and for a
// query that it passes on. A packet can be answered once only, so the time is that of
// single runs, with what the kernel takes to measure one; the median of these is
// reported.
func BenchmarkKernel(b *testing.B) {
	k := kernelPlane(b, 0)
	if err := k.Apply(cluster(b, 16)); err != nil {
		b.Fatal(err)
	}
	all := kernelQuestions(b)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		in := ethernet(all[name], netip.MustParseAddrPort("10.1.2.3:4711"), kernelAt4)
		b.Run(name, func(b *testing.B) {
			var each []time.Duration
			for range b.N {
				took, err := k.Time(in)
				if err != nil {
					b.Fatal(err)
				}
				each = append(each, took)
			}
			slices.Sort(each)
			b.ReportMetric(float64(each[len(each)/2].Nanoseconds()), "ns/op")
		})
	}
}

// BenchmarkKernelVeth times queries from the other end of a veth and their replies,
// several at a time, all on one processor: sending, answering, and receiving. The
// fastest of all rounds is reported as well, which other work did not disturb.
func BenchmarkKernelVeth(b *testing.B) {
	world := newPair(b)
	p, _ := start(b, Config{Listen: []netip.AddrPort{netip.MustParseAddrPort("[::]:53")}, KernelFastPath: true}, cluster(b, 16))
	all := kernelQuestions(b)
	delete(all, "pass")
	for _, name := range slices.Sorted(maps.Keys(all)) {
		b.Run(name, func(b *testing.B) {
			before := kernelCounts(b, p)
			world.asClient(b, func() { exchangeBatches(b, all[name]) })
			after := kernelCounts(b, p)
			if n := after.Answered + after.Missing - before.Answered - before.Missing; n < uint64(b.N) {
				b.Errorf("the kernel answered %d of %d", n, b.N)
			}
		})
	}
}

func kernelCounts(b *testing.B, p *Plane) kernel.Counts {
	b.Helper()
	counts, err := p.fast.kernel.Counts()
	if err != nil {
		b.Fatal(err)
	}
	return counts
}

// exchangeBatches sends a query b.N times and receives the replies.
func exchangeBatches(b *testing.B, packet []byte) {
	var here unix.CPUSet
	here.Set(runtime.NumCPU() - 1)
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		b.Error(err)
		return
	}
	defer unix.Close(fd)
	for _, err := range []error{
		unix.SchedSetaffinity(0, &here),
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 5}),
		unix.Connect(fd, &unix.SockaddrInet4{Port: 53, Addr: netip.MustParseAddr(pairServer4).As4()}),
	} {
		if err != nil {
			b.Error(err)
			return
		}
	}
	in, out := newInbox(), newOutbox(batchSize)
	for i := range out.headers {
		v, h := &out.vectors[i], &out.headers[i]
		v.Base = &packet[0]
		v.SetLen(len(packet))
		h.Iov = v
		h.SetIovlen(1)
	}
	fastest := time.Hour
	b.ResetTimer()
	for done := 0; done < b.N; done += batchSize {
		began := time.Now()
		out.next, out.n = 0, batchSize
		out.send(uintptr(fd))
		n, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, uintptr(fd), uintptr(unsafe.Pointer(&in.headers)), batchSize, 0, 0, 0)
		if errno != 0 || n != batchSize || out.failure != 0 {
			b.Errorf("%d replies: %v, %v", n, errno, out.failure)
			return
		}
		fastest = min(fastest, time.Since(began))
	}
	b.StopTimer()
	b.ReportMetric(float64(fastest.Nanoseconds())/batchSize, "ns/fastest")
}
