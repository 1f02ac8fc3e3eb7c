#!/usr/bin/env bash
# Installs the official clients that the suite `clients` drives the gateway with, into the cache, in the versions of
# tests/clients/requirements.txt (PyPI) and tests/clients/package-lock.json (npm). Prints the folder that they are in:
# FOLDER/python/bin/python runs the one, FOLDER/node_modules holds the other.
#
# usage: folder=$(scripts/clients.sh)
set -euo pipefail
cd "$(dirname "$0")/.."
wanted=tests/clients
edition=$(cat "$wanted/requirements.txt" "$wanted/package.json" "$wanted/package-lock.json" | sha256sum | cut -c1-12)
cache=${SLIPSTREAM_CACHE:-${HOME:-/root}/.cache/slipstream}/clients
folder=$cache/$edition
mkdir -p "$cache"
exec 9>"$cache/.lock"
flock 9
if [ ! -f "$folder/.complete" ]; then
    scripts/prepare.sh clients
    echo "clients.sh: installing opensearch-py and @opensearch-project/opensearch (once; kept in $folder)" >&2
    # The system's Python before any other: one of a version manager may be gone tomorrow.
    python=/usr/bin/python3
    "$python" -c 'import venv, ensurepip' 2>/dev/null || python=python3
    rm -rf "$folder"
    mkdir -p "$folder"
    "$python" -m venv "$folder/python" >&2
    "$folder/python/bin/pip" install -q --no-input --disable-pip-version-check -r "$wanted/requirements.txt" >&2
    cp "$wanted/package.json" "$wanted/package-lock.json" "$folder"
    npm ci --prefix "$folder" --no-audit --no-fund --ignore-scripts >&2
    touch "$folder/.complete"
fi
echo "$folder"
