#!/usr/bin/env bash
# Installs or upgrades both charts in the cluster of the current kubeconfig context, and waits for the operator.
#
#   install.sh [HELM-ARGUMENTS...]     for the chart of the operator
#
# Environment: OPERATOR_NAMESPACE, OPERATOR_IMAGE, ARMOR_IMAGE, EXPORTER_IMAGE, REDIS_IMAGE (default:
# those of the local cluster).
set -euo pipefail
cd "$(dirname "$0")/../.."
system=${OPERATOR_NAMESPACE:-ai-gateway-system}
log=$(mktemp)
trap 'rm -f "$log"' EXIT

install() { # CHART ARGUMENTS...
  local chart=$1
  shift
  if helm upgrade --install "$chart" "charts/$chart" --namespace "$system" --create-namespace --wait --timeout 120s "$@" > "$log" 2>&1; then
    echo "  $chart"
    return
  fi
  {
    cat "$log"
    kubectl --namespace "$system" get pods -o wide
    kubectl --namespace "$system" get events --sort-by=.lastTimestamp | tail -n 15
    kubectl --namespace "$system" logs -l app=ai-gateway-operator --tail 15
  } >&2 || true
  exit 1
}

image() { # BLOCK REFERENCE
  printf 'images.%s.repository=%s,images.%s.tag=%s' "$1" "${2%:*}" "$1" "${2##*:}"
}

# Images that were built here keep their tag when they change; this makes a changed one roll the Pods.
key=$(cat "${XDG_CACHE_HOME:-$HOME/.cache}/ai-gateway-operator/images/operator.tar.key" 2>/dev/null || true)

install ai-gateway-operator-crds
install ai-gateway-operator \
  --set-string "podAnnotations.image-content=${key:-unknown}" \
  --set "$(image operator "${OPERATOR_IMAGE:-localhost/ai-gateway-operator:dev}")" \
  --set "$(image armor "${ARMOR_IMAGE:-localhost/armor:dev}")" \
  --set "$(image exporter "${EXPORTER_IMAGE:-localhost/exporter:dev}")" \
  --set "$(image redis "${REDIS_IMAGE:-localhost/redis:dev}")" \
  "$@"
