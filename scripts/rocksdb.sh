#!/usr/bin/env bash
# Builds the RocksDB that the `librocksdb-sys` crate vendors as a few large translation units, which takes about
# two minutes on two cores where the crate's own build script, one unit per file, takes ten or more. The sources
# are the crate's, unchanged; bindgen goes on using the crate's own header, so library and bindings cannot differ.
#
# usage: scripts/rocksdb.sh          builds when needed, then prints the folder for ROCKSDB_LIB_DIR
#
# The result is cached under ${SLIPSTREAM_CACHE:-~/.cache/slipstream}, outside the target folder. Nothing depends
# on it: a plain `cargo build` compiles the crate's sources by itself, only more slowly.
set -euo pipefail
cd "$(dirname "$0")/.."

cache=${SLIPSTREAM_CACHE:-$HOME/.cache/slipstream}
host=$(rustc -vV | sed -n 's/^host: //p')
metadata=$(cargo metadata --locked --format-version 1 --filter-platform "$host")
manifest() { # folder of a package of this workspace's lock file
    sed -e 's/"manifest_path":"/\n/g' <<<"$metadata" | sed -n "s#^\([^\"]*/$1-[0-9][^\"/]*\)/Cargo.toml\".*#\1#p" |
        sed -n 1p
}
src=$(manifest librocksdb-sys)
zstd=$(manifest zstd-sys)
[ -n "$src" ] && [ -n "$zstd" ] || { echo "rocksdb.sh: librocksdb-sys or zstd-sys is not in Cargo.lock" >&2; exit 1; }

if command -v clang++ >/dev/null; then cxx=clang++; else cxx=g++; fi
out=$cache/rocksdb/$(basename "$src")-$cxx
if [ -f "$out/librocksdb.a" ]; then echo "$out"; exit 0; fi
# Two builds at a time would take twice as long and twice the memory: the second waits for the first one's result.
mkdir -p "$out"
exec 9>"$out/.lock"
flock 9
if [ -f "$out/librocksdb.a" ]; then echo "$out"; exit 0; fi

chunks=4
work=$(mktemp -d "${TMPDIR:-/tmp}/slipstream-rocksdb.XXXXXX")
trap 'rm -rf "$work"' EXIT
echo "rocksdb.sh: building RocksDB with $cxx in $chunks units (once; kept in $out)" >&2

# The list ends in a generated file that the crate replaces by one of its own.
grep -v '^util/build_version.cc$' "$src/rocksdb_lib_sources.txt" | sed "s#^#$src/rocksdb/#" >"$work/sources"
echo "$src/build_version.cc" >>"$work/sources"
split -n "l/$chunks" --additional-suffix=.list "$work/sources" "$work/unit-"
for list in "$work"/unit-*.list; do sed 's/.*/#include "&"/' "$list" >"${list%.list}.cc"; done

flags=(-std=c++20 -O2 -fPIC -ffunction-sections -fdata-sections -w -include cstdint
    -I"$src/rocksdb/include" -I"$src/rocksdb" -I"$src" -I"$zstd/zstd/lib"
    -DNDEBUG -DZSTD=1 -DHAVE_ALIGNED_NEW -DHAVE_UINT128_EXTENSION -DOS_LINUX -DROCKSDB_PLATFORM_POSIX
    -DROCKSDB_LIB_IO_POSIX -DROCKSDB_SCHED_GETCPU_PRESENT -DROCKSDB_AUXV_GETAUXVAL_PRESENT
    -DROCKSDB_FALLOCATE_PRESENT -DROCKSDB_RANGESYNC_PRESENT)
case $(uname -m) in x86_64) flags+=(-msse4.2 -mpclmul) ;; esac

printf '%s\n' "$work"/unit-*.cc | xargs -P "$(nproc)" -I{} sh -c "$cxx \"\$@\" -c {} -o {}.o" sh "${flags[@]}"
ar crs "$work/librocksdb.a" "$work"/unit-*.o
mv "$work/librocksdb.a" "$out/.librocksdb.a.$$" && mv "$out/.librocksdb.a.$$" "$out/librocksdb.a"
echo "$out"
