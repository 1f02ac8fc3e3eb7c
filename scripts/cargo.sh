#!/usr/bin/env bash
# Cargo as this repository wants it: RocksDB built the quick way and cached, the target folder outside the clone so
# that a second clone does not pay again. Everything it sets can be set otherwise from outside.
#
# usage: scripts/cargo.sh test -p slipstream-model
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

export SLIPSTREAM_CACHE=${SLIPSTREAM_CACHE:-${HOME:-/root}/.cache/slipstream}
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$SLIPSTREAM_CACHE/target}
command -v cargo >/dev/null || PATH=${CARGO_HOME:-${HOME:-/root}/.cargo}/bin:$PATH
command -v cargo >/dev/null || {
    echo "cargo.sh: no Rust toolchain found: install one from https://rustup.rs" >&2
    exit 1
}
if [ -z "${ROCKSDB_LIB_DIR:-}" ]; then
    ROCKSDB_LIB_DIR=$("$here/rocksdb.sh")
    export ROCKSDB_LIB_DIR ROCKSDB_STATIC=1
fi
exec cargo "$@"
