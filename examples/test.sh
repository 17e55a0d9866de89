#!/usr/bin/env bash
# Applies every example in a namespace of its own, under the `restricted` Pod Security level, and waits until its Pool is Active,
# its McpServers are Ready and its SiemExports are Programmed (their platforms do not exist). Needs a cluster with the operator, and
# the current kubeconfig context.
#
#   examples/test.sh [FILE...]     environment: EXAMPLE_MCP_IMAGE, REDIS_IMAGE, REMOTE_URL, PARALLEL (default 3)
#
# Lines "#   $ COMMAND" of an example are run first: they make what the example expects to be there.
set -euo pipefail
self=$(realpath "$0")
cd "$(dirname "$self")/.."

# The part for one example, run by xargs below.
if [ "${1:-}" = --one ]; then
  file=$2
  namespace=example-$(basename "$file" .yaml)
  work=$(mktemp -d)
  # shellcheck disable=SC2317 # run by the trap
  finish() {
    result=$?
    kubectl delete namespace "$namespace" --ignore-not-found --wait=false >/dev/null || true
    rm -rf "$work"
    exit "$result"
  }
  trap finish EXIT
  # The commands of an example name no namespace, as a user would type them: a context of its own gives it.
  kubectl config view --raw --flatten --minify > "$work/kubeconfig"
  export KUBECONFIG=$work/kubeconfig
  kubectl config set-context --current --namespace "$namespace" >/dev/null
  kubectl create namespace "$namespace" >/dev/null
  kubectl label namespace "$namespace" pod-security.kubernetes.io/enforce=restricted >/dev/null
  {
    sed -n 's/^#   \$ //p' "$file" > "$work/before.sh"
    (cd "$work" && bash -euo pipefail before.sh)
    e2e/demo/render.sh "$file" | kubectl apply --namespace "$namespace" -f -
    e2e/demo/wait-ready.sh "$namespace" "${READY_SECONDS:-120}"
  } > "$work/log" 2>&1 < /dev/null || { echo "FAILED: $file" >&2; cat "$work/log" >&2; exit 1; }
  echo "ok: $file, $SECONDS s"
  exit
fi

if [ $# -eq 0 ]; then set -- examples/*.yaml; fi
result=0
output=$(printf '%s\n' "$@" | xargs -P "${PARALLEL:-3}" -I '{}' "$self" --one '{}') || result=1
echo "$output"
passed=$(grep -c '^ok: ' <<< "$output" || true)
echo "examples: $passed passed, $(($# - passed)) failed"
exit "$result"
