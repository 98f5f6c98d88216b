#!/usr/bin/env bash
# Builds Traefik v3 from its Go module as the file FILE: build.sh FILE
#
# The module alone does not build: it has no dashboard, and needs two modules that
# no proxy of modules has (its fork of go-http-auth, and an empty one), besides those of
# a hundred DNS providers for ACME. module.patch does without them; what requests pass
# through stays as it is.
set -euo pipefail
version=v3.7.13
here=$(cd "$(dirname "$0")" && pwd)
to=$(realpath -m "$1")

source=$(cd "$here" && go mod download -json "github.com/traefik/traefik/v3@$version" | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p')
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp -r "$source/." "$work"
chmod -R u+w "$work"
cd "$work"
patch -s -p1 <"$here/module.patch"
mkdir -p webui/static
echo 'The dashboard is not a part of this build.' >webui/static/index.html
# The folder differs each time; without its name in the binary, nothing is compiled anew.
CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o "$to" ./cmd/traefik
