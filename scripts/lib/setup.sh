# What scripts/quickstart and scripts/test share: saying what happens,
# installing packages, building. Sourced by bash with `set -euo pipefail`.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
export LC_ALL=C.UTF-8
export PATH=$PATH:/usr/sbin:/sbin # Debian's servers; users do not have them

build_packages=(gcc libc6-dev cmake ninja-build pkg-config luajit
  libluajit-5.1-dev libuv1-dev libmsgpack-dev libsqlite3-dev libxxhash-dev
  libjson-c-dev libnats-dev libssl-dev libcurl4-openssl-dev libedit-dev
  node-llhttp musl-dev)
test_packages=(libcmocka-dev lua-busted lua-check lua-socket clang-14
  libclang-rt-14-dev clang-format-14 valgrind libc6-dbg sqlite3 nats-server
  curl openssl nodejs chromium-headless-shell iproute2)

say() { printf '== %s\n' "$*"; }
complain() { printf '%s\n' "$*" >&2; }

as_root() {
  if [ "$(id -u)" = 0 ]; then
    "$@"
  elif command -v sudo >/dev/null; then
    # Without a terminal nobody can type a password: fail instead of hanging.
    if [ -t 0 ]; then sudo "$@"; else sudo -n "$@"; fi
  else
    complain "This needs root, and there is no sudo here. Run as root:"
    complain "  $*"
    return 1
  fi
}

is_installed() {
  [ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

# Asks the network only when something is missing.
install_packages() {
  local missing=() package
  if ! command -v apt-get >/dev/null; then
    complain "No apt-get here: this script sets up Debian 12. Elsewhere,"
    complain "install the equivalents of: $*"
    return 1
  fi
  for package in "$@"; do
    is_installed "$package" || missing+=("$package")
  done
  if [ ${#missing[@]} = 0 ]; then
    say "packages: all $# are installed"
    return 0
  fi
  say "packages: installing ${missing[*]}"
  local apt=(env DEBIAN_FRONTEND=noninteractive apt-get -q
    -o DPkg::Lock::Timeout=300)
  as_root "${apt[@]}" update >"$scratch/apt.log" 2>&1 </dev/null ||
    complain "apt-get update failed; trying with the package lists at hand."
  if ! as_root "${apt[@]}" install -y --no-install-recommends "${missing[@]}" \
    >>"$scratch/apt.log" 2>&1 </dev/null; then
    tail -n 30 "$scratch/apt.log" >&2
    complain "Could not install: ${missing[*]}"
    return 1
  fi
}

# Programs that only tests use, and no package of this system should bring: in
# build/tools, fetched once. Without the network, the specs that need them fail
# and say so.
tools=$root/build/tools

# Debian's prometheus would start a server; only its promtool is taken out.
fetch_promtool() {
  [ ! -x "$tools/promtool" ] || return 0
  say 'tools: fetching promtool'
  mkdir -p "$tools" "$scratch/prometheus"
  (
    cd "$scratch/prometheus"
    apt-get -q download prometheus || {
      as_root apt-get -q update && apt-get -q download prometheus
    }
    dpkg-deb -x prometheus_*.deb .
    mv usr/bin/promtool "$tools/promtool"
  ) >"$scratch/tools.log" 2>&1 </dev/null
}

# Checks OpenAPI documents.
openapi_validator=@seriousme/openapi-schema-validator@2.11.0
fetch_validator() {
  [ ! -x "$tools/node_modules/.bin/validate-api" ] || return 0
  command -v npm >/dev/null || install_packages nodejs npm
  say "tools: fetching $openapi_validator"
  npm install --prefix "$tools" --no-save --no-audit --no-fund \
    --ignore-scripts "$openapi_validator" >"$scratch/tools.log" 2>&1 </dev/null
}

# A client of NATS in another language, and msgpack for it.
nats_client=(nats@2.29.3 @msgpack/msgpack@3.1.2)
fetch_nats_client() {
  [ ! -d "$tools/node_modules/nats" ] || return 0
  command -v npm >/dev/null || install_packages nodejs npm
  say "tools: fetching ${nats_client[*]}"
  npm install --prefix "$tools" --no-save --no-audit --no-fund \
    --ignore-scripts "$openapi_validator" "${nats_client[@]}" \
    >"$scratch/tools.log" 2>&1 </dev/null
}

# Newer nats-servers than this Debian has, as users have them: out of later
# Debian's packages, which are single programs. Each line: version, the package,
# its SHA-256 in the archive's own Packages file.
nats_servers=(
  "2.10.27 nats-server_2.10.27-1+b2_amd64.deb
   6d913ac987b78734c08537c2adeb1526cf735f216173a9170d94b185fcfe6f8a"
  "2.15.1 nats-server_2.15.1-1_amd64.deb
   31ef4ceaa84e8248d449e508472e3770c17c3695cb5cb0ee96e03912724ea884"
)
fetch_nats_servers() {
  local each version package sum mirror
  mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' |
    grep -m 1 '/debian/*$' || echo http://deb.debian.org/debian/)
  for each in "${nats_servers[@]}"; do
    read -r -d '' version package sum <<<"$each" || :
    [ ! -x "$tools/nats-server-$version" ] || continue
    say "tools: fetching nats-server $version"
    if [ "$(dpkg --print-architecture)" != amd64 ]; then
      echo "only packages for amd64 are known" >"$scratch/tools.log"
      return 1
    fi
    mkdir -p "$tools" "$scratch/nats"
    {
      /usr/lib/apt/apt-helper download-file \
        "${mirror%/}/pool/main/n/nats-server/$package" \
        "$scratch/nats/$package" "SHA256:$sum" &&
        dpkg-deb -x "$scratch/nats/$package" "$scratch/nats/$version" &&
        mv "$scratch/nats/$version/usr/sbin/nats-server" \
          "$tools/nats-server-$version"
    } >"$scratch/tools.log" 2>&1 </dev/null || return 1
  done
}

fetch_tools() {
  local fetch
  for fetch in fetch_promtool fetch_validator fetch_nats_client \
    fetch_nats_servers; do
    "$fetch" || {
      tail -n 5 "$scratch/tools.log" >&2
      complain "$fetch failed; the specs that need it will too."
    }
  done
}

# build FOLDER TARGET… [-- CMAKE-OPTION…]: quiet unless it fails.
build() {
  local folder=$root/$1 targets=() started=$SECONDS
  shift
  while [ $# -gt 0 ] && [ "$1" != -- ]; do
    targets+=("$1")
    shift
  done
  [ $# = 0 ] || shift
  say "building ${folder#"$root"/}/ ${*:+($*)}"
  if ! cmake -S "$root" -B "$folder" -G Ninja \
    -DCMAKE_BUILD_TYPE=RelWithDebInfo "$@" >"$scratch/build.log" 2>&1 ||
    ! ninja -C "$folder" "${targets[@]}" >>"$scratch/build.log" 2>&1; then
    grep -vE '^\[[0-9]+/[0-9]+\] |^-- ' "$scratch/build.log" |
      head -n 80 >&2
    complain "The build in ${folder#"$root"/}/ failed (above)."
    return 1
  fi
  say "built in $((SECONDS - started)) s"
}

# Everything temporary goes here, and goes away with the script.
scratch=$(mktemp -d "${TMPDIR:-/tmp}/aether.XXXXXX")
chmod 755 "$scratch" # tests of permissions go in as another user
trap 'chmod -R u+rwX "$scratch"; rm -rf "$scratch"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
