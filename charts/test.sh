#!/usr/bin/env bash
# Lints the charts, compares what they render with charts/tests/golden, and checks that wrong values are refused
# with the name of the wrong one. Then the rules and the dashboard.
#
#   charts/test.sh             compare
#   UPDATE=1 charts/test.sh    write the golden files anew, to be read as a diff
#   HELM=/path/to/helm         another Helm than the one that `make cluster-tools` names
#   PROMTOOL=/path/to/promtool another promtool than the one that charts/promtool/promtool.sh builds
#
# Rules for Prometheus and the dashboard are tested as the plain files that they are: charts/test-monitoring.sh.
set -euo pipefail
cd "$(dirname "$0")/.."

helm=${HELM:-$(make -s --no-print-directory cluster-tools)/helm}
[ -x "$helm" ] || { echo "no helm at $helm: run 'make cluster-tools' or set HELM" >&2; exit 1; }
operator=charts/ai-gateway-operator
definitions=charts/ai-gateway-operator-crds
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# shellcheck source=charts/tests/assert.sh
source charts/tests/assert.sh

render() { "$helm" template operator "$operator" --namespace ai-gateway-system --values "$1"; }

for chart in "$definitions" "$operator"; do
  if output=$("$helm" lint --strict "$chart" 2>&1); then ok; else not_ok "helm lint --strict $chart" "$output"; fi
done

for values in charts/tests/values/*.yaml; do
  name=$(basename "$values" .yaml)
  golden=charts/tests/golden/$name.yaml
  if ! render "$values" > "$work/$name.yaml" 2> "$work/error"; then
    not_ok "$values does not render" "$(cat "$work/error")"
    continue
  fi
  if [ "${UPDATE:-}" = 1 ]; then cp "$work/$name.yaml" "$golden"; fi
  if output=$(diff -u "$golden" "$work/$name.yaml" 2>&1); then ok; else
    not_ok "$values renders something else than $golden (UPDATE=1 takes it over)" "$output"
  fi
done
for golden in charts/tests/golden/*.yaml; do
  if [ -e "$work/$(basename "$golden")" ]; then ok; else not_ok "$golden has no values file"; fi
done

for values in charts/tests/refused/*.yaml; do
  expected=$(sed -n '1s/^# expect: //p' "$values")
  if output=$(render "$values" 2>&1); then
    not_ok "$values was accepted"
  elif [ -n "$expected" ] && grep -qF -- "$expected" <<< "$output"; then ok; else
    not_ok "$values was refused without the words '$expected'" "$output"
  fi
done

# The restricted set must be free of cluster-wide objects: that is what a tenant without cluster rights relies on.
if output=$(grep -nE '^kind: Cluster' "$work/no-cluster-objects.yaml"); then
  not_ok "values/no-cluster-objects.yaml renders a cluster-wide object" "$output"
else ok; fi

# One version for the workspace and both charts.
version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)
for chart in "$definitions" "$operator"; do
  if grep -qx "version: $version" "$chart/Chart.yaml" && grep -qx "appVersion: $version" "$chart/Chart.yaml"; then ok; else
    not_ok "$chart/Chart.yaml: version and appVersion should be $version, as in Cargo.toml"
  fi
done

# No default may name a registry: a short repository is completed by the node's own settings.
if output=$(grep -nE 'repository: *"?[a-z0-9-]+(\.[a-z0-9-]+)+(:[0-9]+)?/' "$operator/values.yaml"); then
  not_ok "a default repository names a registry host" "$output"
else ok; fi

if charts/test-monitoring.sh; then ok; else not_ok "the rules or the dashboard"; fi

echo "charts: $passed passed, $failed failed"
[ "$failed" -eq 0 ]
