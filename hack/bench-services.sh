#!/usr/bin/env bash
# Measures Services beside kube-proxy and writes docs/benchmarks/services.md. It
# takes about eight minutes; run it as root on a machine that does nothing else.
# With -quick it tries itself out in tiny sizes, and writes nothing.
set -euo pipefail
cd "$(dirname "$0")/.."
. hack/bench-machine.sh

command -v nft >/dev/null || { echo "==> installing nftables, which kube-proxy runs"; apt-get update -q && apt-get install -q -y nftables; }
# Figures of a busy machine mean little: the report says how busy it was.
load=$(cut -d" " -f1 /proc/loadavg)
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
echo "==> building both sides; the first time this fetches the modules of Kubernetes"
CGO_ENABLED=0 go build -o "$out/bench" ./hack/bench
(cd lab && CGO_ENABLED=0 go build -o "$out/kube-proxy" ./bench)
"$out/bench" -peer "$out/kube-proxy" "$@" >"$out/figures"
if [ $# -gt 0 ]; then
	cat "$out/figures"
	exit
fi
{
	cat <<-TXT
		# Services, side by side with kube-proxy

		One run, in network namespaces, of Fairlead's planes (nftables, and eBPF in sockets and at uplinks) and of kube-proxy in nftables
		mode: the proxier of k8s.io/kubernetes $(sed -n 's,^.*k8s.io/kubernetes \(v[0-9.]*\)$,\1,p' lab/go.mod), IPv4 alone, with $(nft --version | cut -d' ' -f1-2). Neither has an API server: each gets the same
		objects in memory, and its time ends when the kernel has taken them. kube-proxy is called at once for each change; in a
		cluster it waits up to a second between two (minSyncPeriod), which is not counted. Each value is a median; the line below
		it says of what, and how far the rounds, in which both sides take turns, lie apart.

		- CPU time is that of the process and its children (getrusage). In packet paths it is that of all processes involved and
		  of the ksoftirqd threads: in a veth, the receiver's work is done in the sender's system call and counted as the sender's.
		- From nothing, kube-proxy writes one transaction, as at its start. Most of its time is the kernel's, which goes through
		  what the transaction has so far for each of the unnamed sets in it: the cost rises faster than the number of Services.
		- One change is an EndpointSlice of two endpoints, of which one is replaced, as when a pod is.
		- Requests are 128 bytes and answered by 1 KiB, from pod to pod on one node, client and server on one processor, among
		  1,000 other Services.
		- NodePort packets are UDP, 64 bytes of data, from outside by one interface of the node to 32 endpoints behind another.
		  What the sender costs alone (into a bridge without ports), and twice what a veth pair costs (to a node that does
		  not take the packet), is subtracted: what is left is the node's work. "routes" is a node that only routes.
		  Connection tracking does not verify checksums, as network cards do that.
		- "xdp" is what a veth pair makes of it: each packet has become the kernel's already and is copied for XDP, and once more
		  on its way out. In a network card's driver neither happens, which this run cannot show.
		- flows-moved is the table alone (Maglev): established flows stay where they are.

		A ratio above 1 means that Fairlead is better, except where it is said to compare with direct traffic: there 1 means that
		a Service costs nothing.

		Made by \`make bench-services\` on: $(machine). Processes that wanted to run before it: $load.

	TXT
	cat "$out/figures"
} >docs/benchmarks/services.md
cat docs/benchmarks/services.md
