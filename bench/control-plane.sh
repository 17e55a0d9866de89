#!/usr/bin/env bash
# A fresh control plane for one phase of a benchmark: etcd, kube-apiserver and kube-controller-manager, nothing else.
#
#   bench/control-plane.sh up DIR     starts it and installs what the phases need; leaves in DIR the files
#                                     admin.kubeconfig, operator.kubeconfig and creator.kubeconfig
#   bench/control-plane.sh down DIR   ends it and removes DIR
#
# CLUSTER_INDEX (default 15) is the address range, as for e2e/cluster/clusterctl.
set -euo pipefail
cd "$(dirname "$0")/.."
action=${1:?up or down} dir=${2:?a folder}
export CLUSTER_NAME=bench CLUSTER_INDEX=${CLUSTER_INDEX:-15} CLUSTER_CONTROL_PLANE_ONLY=1 CLUSTER_DIR=$dir/cluster
namespace=ai-gateway-system

# A kubeconfig for a ServiceAccount: what runs in a cluster is neither an administrator nor exempt from flow control.
account() {
  local file=$dir/$1.kubeconfig token
  kubectl --kubeconfig "$admin" config view --raw --minify --flatten > "$file"
  token=$(kubectl --kubeconfig "$admin" create token "$2" --namespace "$namespace" --duration 24h)
  kubectl --kubeconfig "$file" config set-credentials "$1" --token "$token" > /dev/null
  kubectl --kubeconfig "$file" config set-context --current --user "$1" > /dev/null
}

case $action in
  up)
    mkdir -p "$dir"
    e2e/cluster/clusterctl up
    admin=$dir/admin.kubeconfig
    cp "$CLUSTER_DIR/kubeconfig" "$admin"
    {
      kubectl --kubeconfig "$admin" create namespace "$namespace"
      kubectl --kubeconfig "$admin" create namespace bench
      kubectl --kubeconfig "$admin" apply --server-side -f crds/yaml -f bench/flow-schemas.yaml
      kubectl --kubeconfig "$admin" wait --for condition=Established --timeout 30s crd/pools.aigateway.dev crd/mcpservers.aigateway.dev crd/siemexports.aigateway.dev
      # The permissions of the chart, so that the authorizer has the same work as on a user's cluster.
      helm template ai-gateway-operator charts/ai-gateway-operator --namespace "$namespace" \
        --show-only templates/rbac.yaml --show-only templates/serviceaccount.yaml |
        kubectl --kubeconfig "$admin" apply --server-side -f -
      kubectl --kubeconfig "$admin" create serviceaccount creator --namespace "$namespace"
      kubectl --kubeconfig "$admin" create clusterrolebinding bench-creator --clusterrole cluster-admin --serviceaccount "$namespace:creator"
    } > /dev/null
    account operator ai-gateway-operator
    account creator creator
    ;;
  down)
    e2e/cluster/clusterctl down
    rm -rf "$dir"
    ;;
  *)
    echo "usage: $0 up|down DIR" >&2
    exit 2
    ;;
esac
