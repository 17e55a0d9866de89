#!/usr/bin/env bash
# The operator's benchmark, on control planes of its own; see bench/README.md. Flags go to the binary: --pools 100 --idle 10m.
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d)
finish() {
  result=$?
  trap - EXIT
  for plane in "$work"/*/; do
    if [ -d "$plane" ]; then bench/control-plane.sh down "${plane%/}" || result=1; fi
  done
  rm -rf "$work"
  exit "$result"
}
PATH=$(e2e/cluster/clusterctl tools):$PATH
export PATH
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
target=${CARGO_TARGET_DIR:-target}
"$target/release/bench-operator" --operator "$target/release/ai-gateway-operator" --work "$work" --out "$target/bench" "$@"
