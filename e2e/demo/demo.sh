#!/usr/bin/env bash
# The demo: a cluster, the operator from its chart, a pool with two MCP servers, one tool call through it, and a SiemExport whose
# receivers show what they got.
#
#   demo.sh up      everything; safe to repeat
#   demo.sh down    removes everything that `up` made
#
# CLUSTER=local (default)   starts a one-node Kubernetes on this machine; the receivers of events are rsyslog over TLS and an
#                           OpenTelemetry Collector, as processes of this machine
# CLUSTER=current           uses the current kubeconfig context, where it installs the charts and the examples only. The cluster
#                           must be able to pull OPERATOR_IMAGE, ARMOR_IMAGE, EXPORTER_IMAGE, REDIS_IMAGE and EXAMPLE_MCP_IMAGE. The remote
#                           server is left out unless REMOTE_URL names one, and events go to the log of the exporter.
set -euo pipefail
cd "$(dirname "$0")/../.."

cluster=${CLUSTER:-local}
namespace=${DEMO_NAMESPACE:-demo}
system=${OPERATOR_NAMESPACE:-ai-gateway-system}
state=${XDG_STATE_HOME:-$HOME/.local/state}/ai-gateway-operator/demo-$([ "$cluster" = local ] && echo "local-${CLUSTER_NAME:-dev}" || echo "$cluster")
here=e2e/demo
# The tool that is called at the end, of the server that runs in the cluster.
tool=greeter__echo
arguments='{"text": "hello through the pool"}'

fail() { printf '\ndemo: %s\n' "$*" >&2; exit 1; }
step() { printf '\n==> %s  (%s s)\n' "$1" "$SECONDS"; }
need() { command -v "$1" >/dev/null || fail "$1 is not on the PATH; $2"; }

case $cluster in
  local)
    export OPERATOR_IMAGE=localhost/ai-gateway-operator:dev ARMOR_IMAGE=localhost/armor:dev
    export EXPORTER_IMAGE=localhost/exporter:dev REDIS_IMAGE=localhost/redis:dev EXAMPLE_MCP_IMAGE=localhost/example-mcp:dev
    ;;
  current)
    : "${OPERATOR_IMAGE:=aigateway/operator:$(sed -n 's/^appVersion: //p' charts/ai-gateway-operator/Chart.yaml)}"
    : "${ARMOR_IMAGE:=aigateway/armor:$(sed -n 's/^appVersion: //p' charts/ai-gateway-operator/Chart.yaml)}"
    : "${EXPORTER_IMAGE:=aigateway/exporter:$(sed -n 's/^appVersion: //p' charts/ai-gateway-operator/Chart.yaml)}"
    : "${REDIS_IMAGE:=redis:7.2}"
    : "${EXAMPLE_MCP_IMAGE:=aigateway/example-mcp:latest}"
    export OPERATOR_IMAGE ARMOR_IMAGE EXPORTER_IMAGE REDIS_IMAGE EXAMPLE_MCP_IMAGE
    ;;
  *) fail "CLUSTER is '$cluster'; use local or current" ;;
esac

use_cluster() {
  if [ "$cluster" = local ]; then
    PATH=$(make -s --no-print-directory cluster-tools):$PATH
    KUBECONFIG=$(e2e/cluster/clusterctl kubeconfig)
    export PATH KUBECONFIG
  else
    need kubectl "install it, or use CLUSTER=local"
    need helm "install it, or use CLUSTER=local"
    need jq "install it"
  fi
}

# What `up` made in a cluster that is not its own, one kubectl resource per line: `down` deletes no more than that.
remember() { mkdir -p "$state"; grep -qxF "$1" "$state/made" 2>/dev/null || echo "$1" >> "$state/made"; }
made() { grep -qxF "$1" "$state/made" 2>/dev/null; }

make_namespace() { # NAME
  if ! kubectl get namespace "$1" >/dev/null 2>&1; then
    kubectl create namespace "$1" >/dev/null
    remember "namespace/$1"
  fi
}

# Runs a command with the URL of a pool as its last word.
with_url() { # POOL COMMAND...
  local log=$state/port-forward.log pool=$1 forward port deadline result=0
  shift
  : > "$log"
  kubectl --namespace "$namespace" port-forward "service/$pool-armor" :80 > "$log" 2>&1 < /dev/null &
  forward=$!
  # shellcheck disable=SC2064 # the pid of now
  trap "kill $forward 2>/dev/null || true" EXIT
  deadline=$((SECONDS + 15))
  until port=$(sed -n 's/^Forwarding from 127.0.0.1:\([0-9]*\) .*/\1/p' "$log") && [ -n "$port" ]; do
    kill -0 "$forward" 2>/dev/null || { cat "$log" >&2; fail "kubectl port-forward ended"; }
    [ "$SECONDS" -lt "$deadline" ] || { cat "$log" >&2; fail "kubectl port-forward does not come up"; }
    sleep 0.1
  done
  "$@" "http://127.0.0.1:$port/mcp" || result=$?
  kill "$forward" 2>/dev/null || true
  wait "$forward" 2>/dev/null || true
  trap - EXIT
  return "$result"
}
call_tool() { "$python" $here/client.py "$1" "$tool" "$arguments"; }
call_three() { MCP_API_KEY=$(< "$state/siem/api-key") "$python" $here/siem/calls.py "$1" helpdesk__echo nowhere__echo; }

# The event of the call, which is in the stream some milliseconds after the answer.
show_event() {
  local stream event='' deadline=$((SECONDS + 10))
  stream="audit:{$(kubectl --namespace "$namespace" get pool open -o jsonpath='{.metadata.uid}')}:events"
  while [ -z "$event" ] && [ "$SECONDS" -lt "$deadline" ]; do
    event=$(kubectl --namespace "$namespace" exec open-redis-0 -- redis-cli --raw XREVRANGE "$stream" + - COUNT 50 |
      jq -Rc 'fromjson? | objects | select(.event == "tool_call")' | head -n 1) || true
    [ -n "$event" ] || sleep 0.5
  done
  [ -n "$event" ] || fail "the call left no event in the audit stream"
  jq '{timestamp, event, status, "auth.method", "agent.name", "mcp.server_name", "tool.name", "tool.parameter_fields", "duration.total_ms"}' <<< "$event"
}

up() {
  mkdir -p "$state"
  if [ "$cluster" = local ]; then
    step "Kubernetes on this machine"
    make -s --no-print-directory cluster-up
    step "images"
    make -s --no-print-directory images
    make -s --no-print-directory cluster-load
  fi
  use_cluster
  kubectl version >/dev/null || fail "the cluster does not answer; check the current context of kubectl"

  step "operator, from its charts, in namespace $system"
  make_namespace "$system"
  kubectl get crd pools.aigateway.dev >/dev/null 2>&1 || remember crds
  $here/install.sh || fail "helm could not install the charts"
  kubectl --namespace "$system" get pods -l app=ai-gateway-operator

  step "a pool and its MCP servers, in namespace $namespace"
  python=$($here/python.sh)
  make_namespace "$namespace"
  kubectl label --overwrite namespace "$namespace" pod-security.kubernetes.io/enforce=restricted >/dev/null
  # Outside the cluster, as a process of this machine.
  if [ "$cluster" = local ]; then REMOTE_URL=$($here/remote-server.sh start "$state" "${REMOTE_PORT:-18080}") || fail "no remote server"; export REMOTE_URL; fi
  examples=(01-pool-anonymous 03-mcpserver-workload)
  if [ -n "${REMOTE_URL:-}" ]; then examples+=(04-mcpserver-remote); fi
  for example in "${examples[@]}"; do
    $here/render.sh "examples/$example.yaml" | kubectl --namespace "$namespace" apply -f - | sed 's/^/  /'
  done
  $here/wait-ready.sh "$namespace" 120 || fail "the pool did not become ready"
  echo
  kubectl --namespace "$namespace" get pool
  echo
  kubectl --namespace "$namespace" get mcpserver

  step "one tool call through the pool, with the official Python client"
  with_url open call_tool || fail "the call through the pool failed"

  step "its event in the audit stream (some of the fields)"
  show_event
  show_export
  next_steps
}

# Receivers outside the cluster where it is one of this machine, else the exporter's own log.
show_export() {
  local target=stdout id
  if [ "$cluster" = local ]; then
    target=receivers
    step "two receivers of events on this machine"
    $here/siem/receivers.sh start "$state/siem" || fail "the receivers do not start"
  fi
  step "a pool with API keys, and a SiemExport for its events"
  $here/siem/apply.sh "$namespace" "$state/siem" $target
  $here/wait-ready.sh "$namespace" 120 || fail "the pool did not become ready"

  step "a test event to each destination (spec.test)"
  id=demo-$(date +%s)
  $here/siem/test-event.sh "$namespace" "$id" 90 || fail "the test event was not delivered"

  step "three calls: allowed, with a wrong key, of an unknown tool"
  with_url audited call_three || fail "the calls did not end as they should"

  if [ "$cluster" = local ]; then
    step "what rsyslog got (some of the fields)"
    $here/siem/received.sh rsyslog "$state/siem/syslog.received" "$id" 30 || fail "rsyslog misses events"
    step "what the OpenTelemetry Collector got"
    $here/siem/received.sh collector "$state/siem/collector.received" "$id" 30 || fail "the Collector misses events"
  else
    step "what the exporter wrote to its log (some of the fields)"
    $here/siem/received.sh stdout "$namespace" "$id" 30 || fail "the log misses events"
  fi
  echo
  kubectl --namespace "$namespace" get siemexport
}

next_steps() {
  local watch="kubectl -n $namespace logs -f deployment/audited-exporter"
  if [ "$cluster" = local ]; then watch="tail -f $state/siem/syslog.received"; fi
  printf '\nDone in %s s. What to try next:\n\n' "$SECONDS"
  if [ "$cluster" = local ]; then echo "  export KUBECONFIG=$KUBECONFIG PATH=${PATH%%:*}:\$PATH"; fi
  cat <<EOF
  kubectl -n $namespace get pool,mcpserver,siemexport -o wide
  kubectl -n $namespace describe pool open
  kubectl -n $namespace scale pool open --replicas=3
  kubectl -n $namespace apply -f examples/07-tools-allow-deny.yaml     # then list the tools again
  kubectl -n $namespace delete mcpserver greeter                        # its tools go from the list
  $watch     # events as they come

  # Your own MCP client, at http://127.0.0.1:8080/mcp:
  kubectl -n $namespace port-forward service/open-armor 8080:80

  make demo-down$([ "$cluster" = local ] || echo " CLUSTER=$cluster")     # removes everything
EOF
}

down() {
  if [ "$cluster" = local ]; then
    $here/remote-server.sh stop "$state"
    $here/siem/receivers.sh stop "$state/siem"
    make -s --no-print-directory cluster-down
  else
    use_cluster
    # Pools first: the operator and the garbage collector remove what was made of them.
    if made "namespace/$namespace"; then kubectl delete namespace "$namespace" --ignore-not-found --timeout=120s; else
      for example in 04-mcpserver-remote 03-mcpserver-workload 01-pool-anonymous; do
        kubectl --namespace "$namespace" delete --ignore-not-found -f "examples/$example.yaml"
      done
      kubectl --namespace "$namespace" delete --ignore-not-found -f $here/siem/export-stdout.yaml -f $here/siem/pool.yaml
      kubectl --namespace "$namespace" delete --ignore-not-found secret demo-key
    fi
    for release in ai-gateway-operator ai-gateway-operator-crds; do
      helm uninstall "$release" --namespace "$system" --ignore-not-found --wait
    done
    # Definitions that were there before the demo, or that somebody else's objects use by now, stay.
    if made crds; then
      if [ -z "$(kubectl get pools.aigateway.dev,mcpservers.aigateway.dev,siemexports.aigateway.dev --all-namespaces -o name 2>/dev/null)" ]; then
        kubectl delete --ignore-not-found -f crds/yaml
      else
        echo "the kinds of aigateway.dev stay, because the cluster still has objects of them"
      fi
    fi
    if made "namespace/$system"; then kubectl delete namespace "$system" --ignore-not-found --timeout=120s; fi
  fi
  rm -rf "$state"
  echo "the demo is removed"
}

case ${1:-} in
  up) up ;;
  down) down ;;
  *) fail "usage: demo.sh up|down" ;;
esac
