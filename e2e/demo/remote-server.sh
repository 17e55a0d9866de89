#!/usr/bin/env bash
# An MCP server outside the cluster: the example server as a process of this machine, on the address by which Pods of the local
# cluster reach it.
#
#   remote-server.sh start FOLDER [PORT]    prints its URL for Pods; safe to repeat
#   remote-server.sh stop FOLDER
#
# FOLDER keeps its pid and its log.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=e2e/demo/process.sh
. "$here/process.sh"
folder=$2
port=${3:-18080}
record=$folder/remote.pid

start() {
  local host address name python
  host=$(host_for_pods)
  read -r address name <<< "$host"
  mkdir -p "$folder"
  python=$("$here/python.sh")
  process_start "$record" "$address" "$port" \
    "$python" "$here/../images/example-mcp/everything.py" --host "$address" --port "$port" --name elsewhere
  echo "http://$name:$port/mcp"
}

stop() { process_stop "$record"; }

"$1"
