#!/usr/bin/env bash
# Waits until every Pool of a namespace is Active, every McpServer Ready and every SiemExport Programmed, and says what changes on the
# way. When the time is up, prints conditions, Pods and events, and ends with 1.
#
#   wait-ready.sh NAMESPACE SECONDS
set -euo pipefail
namespace=$1
deadline=$((SECONDS + $2))

# One line per object: "ready|waiting  KIND/NAME  WORD  REASON: MESSAGE".
states() {
  kubectl --namespace "$namespace" get pools.aigateway.dev,mcpservers.aigateway.dev,siemexports.aigateway.dev -o json | jq -r '
    .items[]
    | .metadata.generation as $generation
    | (.status.observedGeneration == $generation) as $seen
    | (if .kind == "SiemExport" then "Programmed" else "Ready" end) as $type
    | ([.status.conditions[]? | select(.type == $type)][0] // {}) as $ready
    | (if .kind == "Pool" then (.status.phase // "-") else ($ready.status // "-") end) as $word
    | (if .kind == "Pool" then $word == "Active" else $word == "True" end) as $good
    | "\(if $seen and $good then "ready" else "waiting" end)\t\(.kind | ascii_downcase)/\(.metadata.name)\t\($word)\t"
      + if $ready.reason then "\($ready.reason): \($ready.message)" else "not looked at yet" end'
}

explain() {
  echo "not ready in time; what the cluster says:" >&2
  {
    kubectl --namespace "$namespace" get pools.aigateway.dev,mcpservers.aigateway.dev,siemexports.aigateway.dev -o json |
      jq -r '.items[] | "\n\(.kind) \(.metadata.name)", (.status.conditions[]? | "  \(.type)=\(.status)  \(.reason): \(.message)")'
    echo
    kubectl --namespace "$namespace" get pods -o wide
    echo
    kubectl --namespace "$namespace" get events --sort-by=.lastTimestamp | tail -n 25
  } >&2 || true
}

declare -A last=()
while :; do
  waiting=0
  seen=0
  lines=$(states)
  while IFS=$'\t' read -r state name word why; do
    [ -n "$name" ] || continue
    seen=$((seen + 1))
    [ "$state" = ready ] || waiting=$((waiting + 1))
    if [ "${last[$name]:-}" != "$word $why" ]; then
      printf '  %3d s  %-24s %-8s %s\n' "$SECONDS" "$name" "$word" "$why"
      last[$name]="$word $why"
    fi
  done <<< "$lines"
  if [ "$seen" -gt 0 ] && [ "$waiting" -eq 0 ]; then exit 0; fi
  if [ "$SECONDS" -ge "$deadline" ]; then
    explain
    exit 1
  fi
  sleep 0.5
done
