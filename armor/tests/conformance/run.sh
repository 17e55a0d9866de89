#!/usr/bin/env bash
# The official conformance suite, directly and through Armor, in front of go-sdk's everything-server: stateful and
# stateless, for both requirement sets. compare.mjs judges; what is known to fail is in expected-failures.yaml.
#
# Both requirement sets run at the same time through the same Armor, so that clients of one era and of the other meet
# in it. Everything that the suite said is kept in target/conformance. ARMOR_BIN names the binary; without it the debug
# build is made and used.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
root="$(cd "$here/../../.." && pwd)"
# shellcheck source=armor/tests/peers/stand.sh
. "$here/../peers/stand.sh"
peers

REVISIONS=(2025-11-25 2026-07-28)
out="$root/target/conformance"
stand "$out"

# The suite's own exit code counts scenarios that fail directly too: the comparison is what counts.
suite() { # suite WAY SERVER REVISION URL
  "$NODE" "$CONFORMANCE" server --url "$4" --requirements "$3" -o "$out/$1-$2-$3" >"$out/$1-$2-$3.log" 2>&1 || true
}

start_redis
for server in stateful stateless; do
  port="$(free_port)"
  stateless=true
  [ "$server" = stateless ] || stateless=false
  start "$server-server" "$EVERYTHING_SERVER" -http "127.0.0.1:$port" "-stateless=$stateless"
  direct_url="http://127.0.0.1:$port/"
  await "the $server server" answers "$direct_url"
  start_armor "$server" <<YAML
auth: {anonymous: true}
servers:
- {name: everything, prefix: "", url: "$direct_url"}
YAML
  for revision in "${REVISIONS[@]}"; do suite direct "$server" "$revision" "$direct_url"; done
  suites=()
  for revision in "${REVISIONS[@]}"; do
    suite armor "$server" "$revision" "$armor_url" &
    suites+=("$!")
  done
  wait "${suites[@]}"
done

"$NODE" "$here/compare.mjs" "$here/expected-failures.yaml" "$NPM" "$out"
