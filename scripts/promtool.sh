#!/usr/bin/env bash
# Prints the path of promtool. Where it is not installed it is taken out of Debian's `prometheus` package into the cache:
# installing the package would also start a server.
#
# usage: $(scripts/promtool.sh) test rules deploy/observability/alerts_test.yml
set -euo pipefail
if command -v promtool; then exit 0; fi
cache=${SLIPSTREAM_CACHE:-${HOME:-/root}/.cache/slipstream}/promtool
tool=$cache/usr/bin/promtool
if [ ! -x "$tool" ]; then
    command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || {
        echo "promtool.sh: install Prometheus, which promtool comes with: https://prometheus.io/download" >&2
        exit 1
    }
    echo "promtool.sh: taking promtool out of Debian's package prometheus (once; kept in $cache)" >&2
    mkdir -p "$cache"
    download=$(mktemp -d)
    trap 'rm -rf "$download"' EXIT
    fetch() { (cd "$download" && apt-get download -qq -o APT::Sandbox::User=root prometheus >&2); }
    fetch 2>/dev/null || { apt-get update -qq >&2 && fetch; }
    dpkg-deb -x "$download"/prometheus_*.deb "$cache"
fi
echo "$tool"
