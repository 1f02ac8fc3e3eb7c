#!/usr/bin/env bash
# Installs with apt what a Debian machine lacks, and says so first. Where that cannot be done it names what to
# install and fails.
#
# usage: scripts/prepare.sh build            what compiling needs: a C and C++ compiler and libclang
#        scripts/prepare.sh build servers    and what the real servers of the tests need: Java, Maven, unzip
#        scripts/prepare.sh build servers browser    and the browser that the status page is tested in
#        scripts/prepare.sh clients          what the official clients of the tests need: Python, Node.js, curl
set -euo pipefail

lacking=()   # what to tell people
packages=()  # what to tell apt
lack() { lacking+=("$1"); packages+=("${@:2}"); }
have() { command -v "$1" >/dev/null 2>&1; }

libclang() {
    [ -n "${LIBCLANG_PATH:-}" ] && return
    compgen -G '/usr/lib/llvm-*/lib/libclang*.so*' >/dev/null && return
    compgen -G '/usr/lib*/libclang*.so*' >/dev/null && return
    compgen -G '/usr/lib/*/libclang*.so*' >/dev/null && return
    have llvm-config && compgen -G "$(llvm-config --libdir)/libclang*.so*" >/dev/null
}

java_releases() { # feature releases of the installed JDKs
    local file
    for file in "${JAVA_HOME:-/none}/release" "${SLIPSTREAM_JAVA_HOME:-/none}/release" /usr/lib/jvm/*/release; do
        if [ -x "$(dirname "$file")/bin/java" ] && [ -f "$file" ]; then
            sed -n 's/^JAVA_VERSION="\([0-9]*\).*/\1/p' "$file"
        fi
    done
}

java_between() { java_releases | awk -v low="$1" -v high="$2" '$1 >= low && $1 <= high { found = 1 } END { exit !found }'; }

build() {
    # Packages come with what they need, yet a minimal image has neither linker nor headers.
    { have cc && have c++; } || lack "a C and C++ compiler" build-essential
    have clang++ || lack "clang (builds RocksDB much faster than g++)" clang
    libclang || lack "libclang (reads RocksDB's header)" libclang-dev
    have flock && have split || lack "util-linux and coreutils" util-linux coreutils
}

servers() {
    have setpriv || lack "setpriv" util-linux
    have useradd || lack "useradd" passwd
    have unzip || lack "unzip" unzip
    have mvn || lack "Maven (downloads the servers)" maven
    java_between 17 21 || wanted_java="17 or 21"
}

browser() {
    have chromium || lack "Chromium (the tests of the status page)" chromium fonts-dejavu-core
    have chromedriver || lack "chromedriver (drives it)" chromium-driver
}

clients() {
    have curl || lack "curl" curl ca-certificates
    { have python3 && python3 -c 'import venv, ensurepip' 2>/dev/null; } ||
        lack "Python 3 with venv and pip" python3 python3-venv python3-pip
    { have node && have npm; } || lack "Node.js with npm" nodejs npm
    have flock || lack "flock" util-linux
}

# Debian 12 has Java 17, Debian 13 has 21: take what there is, and the newest beside it for OpenSearch 3.
choose_java() {
    local release
    for release in 17 21; do
        if apt-cache show "openjdk-$release-jdk-headless" >/dev/null 2>&1; then
            packages+=("openjdk-$release-jdk-headless")
            return
        fi
    done
    packages+=(default-jdk-headless)
}

wanted_java=
[ $# -gt 0 ] || set -- build
for subset in "$@"; do
    case $subset in
        build | servers | browser | clients) "$subset" ;;
        *) echo "prepare.sh: there is no subset \`$subset\`: build, servers, browser or clients" >&2; exit 2 ;;
    esac
done
[ -z "$wanted_java" ] || lacking+=("a JDK, release $wanted_java")
[ ${#lacking[@]} -gt 0 ] || exit 0

echo "This machine lacks:" >&2
printf '  - %s\n' "${lacking[@]}" >&2
if ! have apt-get; then
    echo "There is no apt here to install it with: install it by hand and try again." >&2
    exit 1
fi
if [ "$(id -u)" != 0 ]; then
    [ -z "$wanted_java" ] || choose_java
    echo "Only root may install it: run \`apt-get install ${packages[*]}\` as root and try again." >&2
    exit 1
fi
export DEBIAN_FRONTEND=noninteractive
apt=(apt-get -qq -o Acquire::Retries=3 -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=300)
"${apt[@]}" update </dev/null >&2
[ -z "$wanted_java" ] || choose_java
echo "Installing with apt: ${packages[*]}" >&2
"${apt[@]}" install -y --no-install-recommends "${packages[@]}" </dev/null >&2
