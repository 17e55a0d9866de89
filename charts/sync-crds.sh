#!/usr/bin/env bash
# Writes the CRD chart's templates from crds/yaml: the same text and one annotation that keeps the definitions,
# and with them every Pool of the cluster, when the chart is uninstalled.
#
#   charts/sync-crds.sh [OUTPUT_FOLDER]      default: charts/ai-gateway-operator-crds/templates
set -euo pipefail
cd "$(dirname "$0")/.."

out=${1:-charts/ai-gateway-operator-crds/templates}
mkdir -p "$out"
for source in crds/yaml/*.yaml; do
  # Helm would run this as a template; escaping it silently would make the two texts differ.
  if grep -n '{{' "$source"; then
    echo "$source: holds '{{', which Helm takes for a template: reword the description in crds/src" >&2
    exit 1
  fi
  awk '
    { print }
    /^metadata:$/ { print "  annotations:\n    helm.sh/resource-policy: keep"; found = 1 }
    END { if (!found) { print FILENAME ": no line \"metadata:\"" > "/dev/stderr"; exit 1 } }
  ' "$source" > "$out/$(basename "$source")"
done
