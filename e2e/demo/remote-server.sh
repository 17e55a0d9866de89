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
e2e=$here/..
folder=$2
port=${3:-18080}
record=$folder/remote.pid

# A process is ours if the pid still has the start time (field 22 of proc_pid_stat(5); the name in brackets may hold spaces).
start_time() { sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20; }
running() {
  local started
  [ -r "$record" ] && read -r pid started < "$record" && [ -n "$started" ] && [ "$(start_time "$pid")" = "$started" ]
}

start() {
  local address name python deadline
  read -r address name < <("$e2e/cluster/clusterctl" status | sed -n 's/^this machine, for Pods *\([0-9.]*\), also as \(.*\)/\1 \2/p') ||
    { echo "the local cluster does not run" >&2; exit 1; }
  mkdir -p "$folder"
  if ! running; then
    python=$("$here/python.sh")
    setsid "$python" "$e2e/images/example-mcp/everything.py" --host "$address" --port "$port" --name elsewhere \
      > "$folder/remote.log" 2>&1 < /dev/null &
    pid=$!
    echo "$pid $(start_time "$pid")" > "$record"
  fi
  deadline=$((SECONDS + 20))
  until (exec 3<> "/dev/tcp/$address/$port") 2>/dev/null; do
    if ! running || [ "$SECONDS" -ge "$deadline" ]; then
      cat "$folder/remote.log" >&2
      echo "the example server does not listen on $address:$port" >&2
      exit 1
    fi
    sleep 0.2
  done
  echo "http://$name:$port/mcp"
}

stop() {
  if running; then kill "$pid"; fi
  rm -f "$record"
}

"$1"
