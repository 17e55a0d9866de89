#!/usr/bin/env bash
# A pool with API keys, a key for it, and a SiemExport that sends its events. Safe to repeat.
#
#   apply.sh NAMESPACE FOLDER receivers|stdout
#
# FOLDER has the certificates of receivers.sh, and gets the key, in the file api-key. Environment: EXAMPLE_MCP_IMAGE,
# SYSLOG_PORT, OTLP_PORT.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
namespace=$1
folder=$2
target=$3
apply() { kubectl --namespace "$namespace" apply -f - | sed 's/^/  /'; }
umask 077
mkdir -p "$folder"

# Armor makes the key, and shows it once. A key whose Secret is gone is of no use any more.
key() {
  if [ -s "$folder/api-key" ] && kubectl --namespace "$namespace" get secret demo-key > /dev/null 2>&1; then return; fi
  kubectl --namespace "$namespace" exec deployment/open-armor -- \
    armor api-key create --user alice@example.com --groups support --name demo-key --label aigateway.dev/api-keys=demo \
    > "$folder/secret.yaml" 2> "$folder/shown"
  grep -ohm 1 'agw_[A-Za-z0-9_-]*' "$folder/shown" > "$folder/api-key" || { cat "$folder/shown" >&2; exit 1; }
  rm "$folder/shown"
  apply < "$folder/secret.yaml"
  rm "$folder/secret.yaml"
}

# The private key is sent to no host but the one that its owner names.
certificates() {
  local create=(kubectl --namespace "$namespace" create --dry-run=client -o json)
  "${create[@]}" configmap siem-ca --from-file=ca.crt="$folder/ca.crt" | apply
  "${create[@]}" secret tls siem-client --cert="$folder/client.crt" --key="$folder/client.key" |
    jq '.metadata.labels = {"aigateway.dev/siem-export": "true"}
      | .metadata.annotations = {"aigateway.dev/hosts": "host.cluster.internal"}' | apply
}

"$here/../render.sh" "$here/pool.yaml" | apply
key
if [ "$target" = receivers ]; then certificates; fi
sed -e "s/16514/${SYSLOG_PORT:-16514}/" -e "s/14318/${OTLP_PORT:-14318}/" "$here/export-$target.yaml" | apply
