#!/usr/bin/env bash
# The end-to-end tests on a real cluster of their own: cluster up, operator from its charts, the tests of the crate e2e, every
# example, cluster down.
#
#   e2e/run.sh            all of it; KEEP=1 leaves the cluster running for a look
#   e2e/run.sh --down     removes what an interrupted run left
#
# CLUSTER_NAME and CLUSTER_INDEX say which cluster, as for e2e/cluster/clusterctl.
set -euo pipefail
cd "$(dirname "$0")/.."
state=${XDG_STATE_HOME:-$HOME/.local/state}/ai-gateway-operator/e2e-${CLUSTER_NAME:?}

down() {
  e2e/demo/remote-server.sh stop "$state"
  e2e/cluster/clusterctl down
  rm -rf "$state"
}
if [ "${1:-}" = --down ]; then down; exit; fi

finish() {
  result=$?
  trap - EXIT
  if [ "$result" -ne 0 ]; then
    kubectl get pools,mcpservers,siemexports --all-namespaces -o wide || true
    kubectl logs --namespace ai-gateway-system -l app=ai-gateway-operator --tail 50 || true
  fi >&2
  if [ "${KEEP:-}" = 1 ]; then e2e/cluster/clusterctl status || true; else .ci/stage "cluster down" "$0" --down || result=1; fi
  exit "$result"
}
PATH=$(e2e/cluster/clusterctl tools):$PATH
KUBECONFIG=$(e2e/cluster/clusterctl kubeconfig)
export PATH KUBECONFIG
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

.ci/stage "cluster up" e2e/cluster/clusterctl up
mapfile -t archives < <(e2e/images/build.sh --list)
.ci/stage "cluster load" e2e/cluster/clusterctl load "${archives[@]}"
.ci/stage "charts: install, upgrade, uninstall" charts/test-cluster.sh
.ci/stage "operator" e2e/demo/install.sh
.ci/stage "e2e tests" cargo test -q -p e2e --locked -- --test-threads=1
REMOTE_URL=$(e2e/demo/remote-server.sh start "$state" 18081)
export REMOTE_URL
.ci/stage "examples" examples/test.sh
