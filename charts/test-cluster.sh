#!/usr/bin/env bash
# Installs, upgrades and uninstalls the charts on the cluster of the current kubeconfig context, in the form for tenants: a list of namespaces and no cluster-wide
# object. No other operator may run there, and no Pool be
# there: it removes the definitions at the end.
#
#   charts/test-cluster.sh     environment: OPERATOR_IMAGE, ARMOR_IMAGE, EXPORTER_IMAGE, REDIS_IMAGE
set -euo pipefail
cd "$(dirname "$0")/.."
export OPERATOR_NAMESPACE=chart-test-system
red=chart-test-red
blue=chart-test-blue
passed=0

ok() { passed=$((passed + 1)); echo "ok: $1"; }
fail() { echo "FAILED: $1" >&2; exit 1; }
finish() {
  result=$?
  trap - EXIT
  if [ "$result" -ne 0 ]; then kubectl --namespace "$OPERATOR_NAMESPACE" logs -l app=ai-gateway-operator --tail 30 >&2 || true; fi
  kubectl delete namespace "$red" "$blue" "$OPERATOR_NAMESPACE" --ignore-not-found --timeout 120s >/dev/null || result=1
  # Definitions that were kept belong to the release that made them, and another release may not take them over.
  kubectl delete --ignore-not-found -f crds/yaml >/dev/null || result=1
  echo "charts on a cluster: $passed passed, $((result != 0)) failed"
  exit "$result"
}
trap finish EXIT

install() { e2e/demo/install.sh --set "watchNamespaces={$1}" --set rbac.clusterReads=false --set rbac.userRoles=false; }
may() { kubectl auth can-i "$@" --as "system:serviceaccount:$OPERATOR_NAMESPACE:ai-gateway-operator" >/dev/null; }

install_definitions() { helm upgrade --install ai-gateway-operator-crds charts/ai-gateway-operator-crds --namespace "$OPERATOR_NAMESPACE" --wait >/dev/null; }

for namespace in "$OPERATOR_NAMESPACE" "$red" "$blue"; do
  kubectl create namespace "$namespace" >/dev/null
  kubectl label namespace "$namespace" pod-security.kubernetes.io/enforce=restricted >/dev/null
done
install_definitions
for namespace in "$red" "$blue"; do
  e2e/demo/render.sh examples/12-ephemeral-redis.yaml | kubectl --namespace "$namespace" apply -f - >/dev/null
done

install "$red"
ok "installed without a cluster-wide object, under the restricted level"
if kubectl get clusterroles,clusterrolebindings -o name | grep -F "$OPERATOR_NAMESPACE"; then fail "the release made a cluster-wide object"; fi
may list secrets --namespace "$red" || fail "the operator may not read $red, which it watches"
if may list secrets --namespace "$blue"; then fail "the operator may read $blue, which it does not watch"; fi
ok "rights in the listed namespace only"

e2e/demo/wait-ready.sh "$red" 90
ok "the pool of a listed namespace is Active"
[ -z "$(kubectl --namespace "$blue" get pool ephemeral-pool -o jsonpath='{.status.phase}')" ] || fail "the operator wrote into $blue"
ok "the pool of another namespace is left alone"

install "$red,$blue"
e2e/demo/wait-ready.sh "$blue" 90
ok "upgraded: a namespace that was added to the list is taken up"

before=$(kubectl --namespace "$red" get pods -o name | sort)
helm uninstall ai-gateway-operator --namespace "$OPERATOR_NAMESPACE" --cascade foreground --wait >/dev/null
[ "$(kubectl --namespace "$red" get pods -o name | sort)" = "$before" ] || fail "uninstalling the operator changed the Pods of a pool"
ok "uninstalled: pools go on"
for namespace in "$red" "$blue"; do
  left=$(kubectl --namespace "$namespace" get roles,rolebindings -o name)
  [ -z "$left" ] || fail "left in $namespace: $left"
done
left=$(kubectl --namespace "$OPERATOR_NAMESPACE" get all,roles,rolebindings,networkpolicies,poddisruptionbudgets -o name)
[ -z "$left" ] || fail "left in $OPERATOR_NAMESPACE: $left"
ok "uninstalled: nothing of the release is left"

helm uninstall ai-gateway-operator-crds --namespace "$OPERATOR_NAMESPACE" >/dev/null 2>&1
kubectl get crd pools.aigateway.dev >/dev/null || fail "uninstalling the chart of definitions removed them"
[ -n "$(kubectl --namespace "$red" get pools -o name)" ] || fail "uninstalling the chart of definitions removed pools"
install_definitions
ok "uninstalled: definitions and pools stay, and can be installed again"
