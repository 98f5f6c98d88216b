#!/usr/bin/env bash
# Installs the Debian packages of those commands and files that are missing, given as
# command:package or /file:package. No service of theirs is started: routers run in namespaces only.
set -euo pipefail

missing=()
for need in "$@"; do
	[ -e "${need%%:*}" ] || PATH=$PATH:/usr/sbin:/sbin command -v "${need%%:*}" >/dev/null || missing+=("${need#*:}")
done
if [ ${#missing[@]} = 0 ]; then
	exit
fi
echo "installing Debian packages: ${missing[*]}"
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
	trap 'rm -f "$policy"' EXIT
	printf '#!/bin/sh\nexit 101\n' >$policy
	chmod 755 $policy
fi
apt-get update -q >/dev/null
DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "${missing[@]}" >/dev/null
