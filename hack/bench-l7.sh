#!/usr/bin/env bash
# Measures the L7 engine beside nginx, HAProxy, Traefik and Caddy, and writes
# docs/benchmarks/l7.md. It takes about half an hour; run it as root on a machine that
# does nothing else; ROUNDS and LENGTH in the environment make it shorter, or longer, than 5
# rounds of 3s, and LAB=no leaves out what needs the lab; the report says so. With arguments, which lab/l7/l7bench gets (such as
# -rounds 1 -length 1s), it tries itself out, and writes nothing.
set -euo pipefail
cd "$(dirname "$0")/.."
. hack/bench-machine.sh

./hack/packages.sh nginx:nginx haproxy:haproxy taskset:util-linux patch:patch
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
export CGO_ENABLED=0
echo "==> building; the first time this fetches the modules of Traefik and Caddy, and compiles them for minutes"
traefik=$out/traefik
lab/l7/traefik/build.sh "$traefik" || {
	echo "Traefik cannot be built; the report says that its figures are missing" >&2
	traefik=
}
(cd lab/l7 && go build -o "$out/l7bench" ./l7bench)
# Caddy by its own module, as its modules are other versions than ours.
caddy=$(cd lab/l7 && go mod download -json github.com/caddyserver/caddy/v2 | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p')
(cd "$caddy" && go build -trimpath -ldflags '-s -w' -o "$out/caddy" ./cmd/caddy)
# Figures of a busy machine mean little: the report says how busy it was.
load=$(cut -d" " -f1 /proc/loadavg)
PATH=$PATH:/usr/sbin
"$out/l7bench" -rounds "${ROUNDS:=5}" -length "${LENGTH:=3s}" -nginx "$(command -v nginx)" -haproxy "$(command -v haproxy)" -traefik "$traefik" -caddy "$out/caddy" "$@" >"$out/figures"
if [ $# -gt 0 ]; then
	cat "$out/figures"
	exit
fi
# What changes cost while requests come, and how soon an Ingress is served, on the lab.
# Figures that miss what the tests want are reported as well.
missed=
touch "$out/lab"
if [ "${LAB:=yes}" = yes ]; then
	make up
	(cd lab && go test -count=1 -timeout 20m -tags e2e -v ./e2e/... -run '^TestGateways$/^(propagation|load)$' -ingresses 3000 -figures "$out/lab") || missed=yes
	# The figure of all changes is the sum.
	awk '/^figure l7-change-errors-/ { n += $3 } END { printf "figure l7-change-errors %d count\n\n    the sum of those above\n", n }' "$out/lab" >>"$out/lab"
else
	printf '\nWithout the lab (LAB=no): l7-propagation-p99 and l7-change-errors are not in this report.\n' >"$out/lab"
fi
{
	cat <<-TXT
		# The L7 engine, side by side with nginx, HAProxy, Traefik and Caddy

		One run, on loopback in a network namespace, of Fairlead's engine, of nginx $(nginx -v 2>&1 | sed 's,.*/,,'), of HAProxy $(haproxy -v | sed -n '1s/^HAProxy version \([0-9.]*\).*/\1/p'),
		of Traefik $(sed -n 's/^version=v//p' lab/l7/traefik/build.sh), and of Caddy $(sed -n 's,^.*caddyserver/caddy/v2 v\([0-9.]*\).*$,\1,p' lab/l7/go.mod). All are reverse proxies of one backend. Each value is a median;
		the line below it says of what, and how far the rounds, in which all proxies take turns, lie apart.

		- Each proxy has one processor, with one worker or thread; the load and the backend, one thread for both, have the other
		  one. A proxy's CPU time is that of all its processes, user and kernel, by their clocks; answers are counted where they arrive,
		  and the run ends with an error if any is not what it must be. What share of its processor a proxy used is
		  stated: below about 95 % the load was the limit, and requests come one by one, which costs a proxy more for each.
		- On loopback the kernel's work of receiving is done in the sender's system call: that of requests by the load, that of
		  answers by the proxy.
		- The load has 64 requests under way: on 64 connections, with HTTP/2 and gRPC on 4 with 16 each. All connections to
		  clients and to the backend are kept, but for new connections (l7-handshake), of which 32 are under way: each has a full
		  handshake with X25519 and a P-256 certificate, and one request. TLS is 1.3 with AES-128-GCM everywhere.
		- To the backend all speak HTTP/1.1, for gRPC HTTP/2, both without TLS. No proxy writes an access log; each adds
		  X-Forwarded-For. Traefik is as it comes, without its experimental fast proxy. Fairlead has the routes that
		  Ingresses compile to.
		- The ratios are against the better of nginx and HAProxy, by the median of the run.
		- The 99th percentile is at half of the rate that the same proxy reached, counted from when a request was due. Where
		  something else on the machine takes a processor for 10 ms once a second, that is what this percentile shows, of
		  whoever meets it; so beside it stands the median of the 99th percentiles of every tenth of a second.
		- Memory is that of all processes of a proxy, shared pages counted once (Pss); what the kernel has for sockets is not in it.
		- The last figures are of the lab, a Kubernetes of three nodes on the same machine, with two gateways: changes while
		  clients ask and WebSockets are held, and how soon a new Ingress is served beside 3,000 others.

		A ratio above 1 means that Fairlead is better.

		Made by \`make bench-l7 ROUNDS=$ROUNDS LENGTH=$LENGTH LAB=$LAB\` on: $(machine). Processes that wanted to run before it: $load.

	TXT
	cat "$out/figures" "$out/lab"
} >docs/benchmarks/l7.md
cat docs/benchmarks/l7.md
exit ${missed:+1}
