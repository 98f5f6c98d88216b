#!/usr/bin/env bash
# gofmt, go vet and golangci-lint over both modules.
set -euo pipefail
cd "$(dirname "$0")/.."

# A version that builds with the project's toolchain.
golangci=github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0

unformatted=$(git ls-files -z '*.go' | xargs -0 gofmt -l)
if [ -n "$unformatted" ]; then
	printf 'not formatted, run gofmt -w on:\n%s\n' "$unformatted" >&2
	exit 1
fi
for module in . lab; do
	echo "==> $module"
	(cd "$module" && go vet ./... && go run "$golangci" run --config "$OLDPWD/.golangci.yml" ./...)
done
