#!/usr/bin/env bash
# gofmt, go vet and golangci-lint over all modules, the end-to-end tests of the
# lab included. Works from any folder.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
root=$PWD

# As in the Makefile, for those who run this file itself.
export GOTOOLCHAIN=go1.27.4 GOFLAGS=-buildvcs=false

# A version that builds with the project's toolchain.
golangci=github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0

started=$SECONDS
step() { printf '==> %s (%dm%02ds)\n' "$*" $(((SECONDS - started) / 60)) $(((SECONDS - started) % 60)); }

step "gofmt"
unformatted=$(git ls-files -z '*.go' | xargs -0 gofmt -l)
if [ -n "$unformatted" ]; then
	printf 'not formatted, run gofmt -w on:\n%s\n' "$unformatted" >&2
	exit 1
fi

# lint MODULE TAGS looks at one module, with the files behind the build tags too.
lint() {
	cd "$root/$1"
	step "$1: go vet${2:+, tags $2}"
	go vet -tags "$2" ./...
	step "$1: golangci-lint${2:+, tags $2}"
	go run "$golangci" run --config "$root/.golangci.yml" --build-tags "$2" ./...
}
# Without cgo, as the lab builds its Kubernetes: else it is compiled once more.
export CGO_ENABLED=0
lint . ""
lint lab e2e
lint lab/dns ""
lint lab/l7 ""
step "nothing found"
