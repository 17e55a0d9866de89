#!/usr/bin/env bash
# The exporter's benchmark; see bench/README.md. Flags go to the binary: --only one,ten --events 100000.
#
# What is measured has the first core for itself; Redis, the receivers and the benchmark share the others.
set -euo pipefail
cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-target}
cores=$(nproc)
if [ "$cores" -lt 2 ]; then
  echo "run-exporter.sh: two cores are needed" >&2
  exit 1
fi
setup=exporter/tests/receivers/setup.sh
collector=()
if [ -n "${COLLECTOR:-}" ]; then
  collector=(--collector "$COLLECTOR")
elif [ -x "$setup" ]; then
  collector=(--collector "$("$setup" collector)")
else
  echo "run-exporter.sh: no Collector to compare with" >&2
fi
exec taskset --cpu-list "1-$((cores - 1))" "$target/release/bench-exporter" --core 0 --exporter "$target/release/exporter" \
  "${collector[@]}" --out "$target/bench" "$@"
