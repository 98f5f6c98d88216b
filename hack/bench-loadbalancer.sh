#!/usr/bin/env bash
# Measures how long addresses of load balancers are without an answer when nodes die or leave, on the lab, and
# writes docs/benchmarks/loadbalancer.md. It takes about half an hour; run it as root on a machine that does
# nothing else. With a number it tries itself out with so many rounds, and writes nothing.
set -euo pipefail
cd "$(dirname "$0")/.."
. hack/bench-machine.sh

rounds=${1:-10}
load=$(cut -d" " -f1 /proc/loadavg)
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
# Figures that miss what the tests want are reported as well.
missed=
(cd lab && CGO_ENABLED=0 go test -count=1 -timeout 2h -tags e2e -v ./e2e/... \
	-run '^(TestLoadBalancerFailover|TestBGPFailover|TestThousand)$' -rounds "$rounds" -figures "$out/figures") | tee "$out/log" || missed=yes
# The figure of all planned moves is the sum of two.
awk '/^figure lb-drain-failures-/ { n += $3 } END { printf "figure lb-drain-failures %d count\n\n    planned moves: the sum of the two kinds\n", n }' "$out/figures" >>"$out/figures"
if [ $# -gt 0 ]; then
	cat "$out/figures"
	exit ${missed:+1}
fi
{
	cat <<-TXT
		# Addresses of load balancers: failover, and what they cost the API server

		One run on the lab: three nodes, an endpoint on one, and clients outside, in network namespaces of one machine. Each client
		opens 200 connections a second, with a request on each.

		- A node that is not the endpoint's is cut off: its cable is unplugged. The time is the longest in which no connection succeeded,
		  or from the beginning of the first connection that failed or was late (by half a second or more: TCP sends again what was
		  lost, after a second) to the beginning of the last, whichever is longer. The worst of $rounds times is the figure.
		- By ARP, the client is on the nodes' network, and the node is the one that announces the address.
		- By BGP, clients are behind two routers, one that runs FRR $(/usr/lib/frr/bgpd --version | sed -n '1s/.* //p') in another AS and one that runs BIRD $(/usr/sbin/bird --version 2>&1 | sed 's/.* //') in the nodes' own, which
		  spread connections over all nodes (ECMP). BFD sends every 100 ms and misses three.
		- Planned moves: the node gets the label node.kubernetes.io/exclude-from-external-load-balancers and loses it four
		  seconds later, and its Fairlead process is replaced.
		  Routers choose the node anew for all connections when one is withdrawn or comes back (ECMP), so that packets of one that is
		  under way can come to a node that does not know it; lb.directReturn, off here, keeps those.
		- Requests to the API server are counted in its own audit log, by the names of Fairlead's ServiceAccounts.

		What others publish, with other clients and clocks, so as a comparison of orders of magnitude:

		| | by ARP and NDP | by BGP |
		|---|---|---|
		| MetalLB | "within a few seconds", more than 10 s is a bug ([concepts](https://metallb.io/concepts/layer2/)); about 4 s until the node counts as failed ([#2009](https://github.com/metallb/metallb/issues/2009)) | the hold time, 180 s by default with FRR ([frr-k8s](https://github.com/metallb/frr-k8s/blob/main/API-DOCS.md)); with BFD by default 3 times 300 ms until the loss is seen ([BFDProfile](https://metallb.io/apis/)) |
		| Cilium | the lease of the address, 15 s by default, renewed by requests to the API server for each Service ([L2 announcements](https://docs.cilium.io/en/stable/network/l2-announcements/)): 10 to 20 s, 2 to 4 s with other settings | the hold time, 90 s by default; no BFD in the open source ([#22394](https://github.com/cilium/cilium/issues/22394)) |

		Made by \`make bench-loadbalancer\` on: $(machine). Processes that wanted to run before it: $load.

	TXT
	cat "$out/figures"
	if [ "$missed" ]; then
		printf '\n## What was not as the tests want it\n\n'
		sed -n 's/^ *[a-z0-9_]*_test.go:[0-9]*: \(.*, want .*\)/- \1/p' "$out/log"
	fi
} >docs/benchmarks/loadbalancer.md
cat docs/benchmarks/loadbalancer.md
exit ${missed:+1}
