#!/usr/bin/env bash
# Measures DNS beside CoreDNS, Knot DNS and unbound, and writes docs/benchmarks/dns.md. It takes about ten
# minutes; run it as root on a machine that does nothing else. With arguments, which lab/dns/dnsbench gets (such as
# -services 200 -rounds 1 -length 1s), it tries itself out, and writes nothing.
set -euo pipefail
cd "$(dirname "$0")/.."
. hack/bench-machine.sh

./hack/packages.sh knotd:knot unbound:unbound taskset:util-linux
# Figures of a busy machine mean little: the report says how busy it was.
load=$(cut -d" " -f1 /proc/loadavg)
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
echo "==> building; the first time this fetches the modules of CoreDNS and Kubernetes"
(cd lab/dns && CGO_ENABLED=0 go build -o "$out/dnsbench" ./dnsbench)
PATH=$PATH:/usr/sbin
"$out/dnsbench" -knot "$(command -v knotd)" -unbound "$(command -v unbound)" "$@" >"$out/figures"
if [ $# -gt 0 ]; then
	cat "$out/figures"
	exit
fi
# On the lab, now that nothing else is measured. A figure that misses what the test wants is reported as well.
make up
missed=
(cd lab && CGO_ENABLED=0 go test -count=1 -timeout 10m -tags e2e -v ./e2e/... -run '^(TestNamesAppear|TestDNSUnderLoad)$' -figures "$out/figures") || missed=yes
{
	cat <<-TXT
		# DNS, side by side with CoreDNS, Knot DNS and unbound

		One run, on loopback in a network namespace, of Fairlead's DNS server, of CoreDNS $(sed -n 's,^.*coredns/coredns v\([0-9.]*\)$,\1,p' lab/dns/go.mod) with its kubernetes plugin (and
		errors, forward, cache, loadbalance), of Knot DNS $(knotd --version | sed 's/.* //'), and of unbound $(unbound -V | sed -n '1s/.* //p'). All serve the same cluster: 10,000
		Services, one in ten headless, with 15 endpoints each. Fairlead gets it as in its agent, CoreDNS by its own informers from
		an API server that only pretends to be one, Knot as a zone file, unbound as local data. Each value is a median; the line
		below it says of what, and how far the rounds, in which all servers take turns, lie apart.

		- Each server has one processor, and the load has the other one. Its CPU time is that of the process, user and kernel, from
		  /proc; the answers are counted where they arrive, and the run ends with an error if they are not what they must be.
		- The load has 192 queries under way on 16 UDP sockets, without EDNS, and sends and receives several in a system call. On
		  loopback the kernel's work of receiving is done in the sender's system call: that of answers is counted as the server's.
		- Hits are A records of Services with a ClusterIP, at random. Misses are 60 % names elsewhere (A and AAAA) with the suffixes of
		  a pod's search list, which do not exist, and 40 % hits. Names elsewhere are 1,000, which the caches have; where they
		  come from is a Knot DNS beside the load.
		- dns-kernel-* and dns-wire-* are by a pair of virtual interfaces (veth) from another network namespace, as between a node and
		  a pod: Fairlead with dns.kernelFastPath, whose answers cost no process anything, and CoreDNS. Counted for both is all time
		  in which the servers' processor was not idle (/proc/stat: not idle, waiting, or taken by the host), in processes and in the
		  kernel: receiving, answering, sending, timers, and all else. RPS has the processor of each end receive what comes there, so CoreDNS's
		  answers end with handing them to the load's processor; the kernel's own are received at the other end at once, up to the
		  load's socket, which is counted as well. What the load's processor does to send queries and to read answers is not.
		- The 99th percentile is at half of the rate that the same server reached, counted from when a query was due.
		- The heap is what is live after a garbage collection, before the first query: for Fairlead with the State, which its other
		  features use as well.
		- How long the name of a new Service takes to answer is measured afterwards, on the lab: three nodes on the same machine. So is
		  what clients notice when the DNS server of a node is killed, and when all are replaced: queries that have no good answer
		  (failures), and those that have one only when they are sent again, once, as resolvers do (repeated).

		A ratio above 1 means that Fairlead is better.

		Made by \`make bench-dns\` on: $(machine). Processes that wanted to run before it: $load.

	TXT
	cat "$out/figures"
} >docs/benchmarks/dns.md
cat docs/benchmarks/dns.md
exit ${missed:+1}
