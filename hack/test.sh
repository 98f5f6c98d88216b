#!/usr/bin/env bash
# Every test there is, in the order in which they fail fastest. Needs root: the
# kernel tests make network namespaces and load BPF programs. Leftovers of
# earlier runs are removed first, so a killed run never fails the next one.
set -euo pipefail
cd "$(dirname "$0")/.."

started=$SECONDS
step() { printf '\n==> %s (%dm%02ds)\n' "$*" $(((SECONDS - started) / 60)) $(((SECONDS - started) % 60)); }

if [ "$(id -u)" != 0 ]; then
	echo "make test needs root: it makes network namespaces and loads BPF programs. Run: sudo make test" >&2
	exit 1
fi

step "what the tests need"
# The race detector needs the headers of libc.
./hack/packages.sh gcc:gcc /usr/include/stdlib.h:libc6-dev ip:iproute2 nft:nftables iptables-nft:iptables vtysh:frr bird:bird2 chromium-headless-shell:chromium-headless-shell dig:bind9-dnsutils
go version

# The longest compile comes first: the lab's Kubernetes, with progress.
step "the lab: a real Kubernetes with Fairlead in it"
make --no-print-directory down
make --no-print-directory up

step "unit, property and kernel tests, with the race detector"
go vet ./...
go test -race -timeout 20m ./...

# Without cgo, as the lab's programs are built: else Kubernetes is compiled twice.
export CGO_ENABLED=0
step "what the race detector hides: allocations of the L7 engine"
go test -run TestNoAllocations ./internal/l7/proxy

step "the lab's own tests"
(cd lab && go vet ./... && go test -timeout 10m ./...)

step "the cluster's DNS beside CoreDNS"
(cd lab/dns && go vet ./... && go test -timeout 10m ./...)

step "the bench of the L7 engine"
(cd lab/l7 && go vet ./... && go test -timeout 10m ./...)

step "end-to-end tests on the lab"
(cd lab && go vet -tags e2e ./e2e/... && go test -count=1 -timeout 60m -tags e2e -v ./e2e/...)

step "taking the lab down"
make --no-print-directory down
step "all tests passed"
