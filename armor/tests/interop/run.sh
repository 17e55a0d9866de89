#!/usr/bin/env bash
# Official clients of every line against one Armor with API keys, in front of a server that speaks only the revisions
# with sessions and of one that speaks both eras: what each client's user sees, and one audit event for each call.
#
# What was seen is kept in target/interop. ARMOR_BIN names the binary; without it the debug build is made and used.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
root="$(cd "$here/../../.." && pwd)"
# shellcheck source=armor/tests/peers/stand.sh
. "$here/../peers/stand.sh"
peers
armor_binary

out="$root/target/interop"
stand "$out"
(cd "$here" && GOFLAGS=-mod=readonly go build -buildvcs=false -o "$out/go-client" .)
export GO_CLIENT="$out/go-client"

start_redis
start_server() { # start_server NAME PYTHON: sets server_url
  local port
  port="$(free_port)"
  start "$1-server" "$2" "$here/../peers/server.py" "$port"
  server_url="http://127.0.0.1:$port/mcp"
  await "the $1 server" answers "$server_url"
}
start_server old "$PYTHON_1"
old_url="$server_url"
start_server new "$PYTHON_2"
new_url="$server_url"

# A key for each client, so that its calls can be told from those of the others.
mkdir -p "$out/armor/secrets" "$out/keys"
while read -r client; do
  hash="$("$ARMOR_BIN" api-key create --user "$client@example.com" 2>"$out/keys/$client" | grep -o 'sha256:[0-9a-f]*')"
  grep -o 'agw_.*' "$out/keys/$client" >"$out/keys/$client.key"
  echo "- {id: key-$client, hash: '$hash', user: $client@example.com}"
done < <("$here/check.py" clients) >"$out/armor/secrets/api-keys.yaml"

start_armor armor <<YAML
auth: {apiKeysFile: api-keys.yaml}
servers:
- {name: old, prefix: old, url: "$old_url"}
- {name: new, prefix: new, url: "$new_url", tools: {allow: ["*"], deny: [ask]}}
YAML

failed=0
"$here/check.py" calls "$armor_url" "$out" || failed=1
# Whatever is in Armor's queue is in the stream when it has ended.
stop armor
redis-cli -p "$redis_port" --json XRANGE 'audit:{armor}:events' - + >"$out/stream.json"
"$here/check.py" events "$out" || failed=1
exit "$failed"
