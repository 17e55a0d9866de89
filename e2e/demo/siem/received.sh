#!/usr/bin/env bash
# Waits until a receiver has the test event ID and the events of the three calls after it, and shows some fields of each as the
# receiver has them.
#
#   received.sh rsyslog|collector FILE ID SECONDS
#   received.sh stdout NAMESPACE ID SECONDS
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
kind=$1
source=$2
id=$3
deadline=$((SECONDS + $4))

# What a receiver has, as lines of one object each: the event's name and test, and the fields to show, in their order.
records() {
  case $kind in
    rsyslog)
      # A message that is written this moment is read the next time.
      jq -cR 'fromjson? | . as $header | .msg | fromjson? | {event, test: ."test.id", show: {
        time: .timestamp[11:23], severity: $header.severity, msgid: $header.msgid, "user.email": ."user.email",
        "mcp.server_name": ."mcp.server_name", "tool.name": ."tool.name", status,
        "failure, cause": (."auth.failure" // ."route.cause" // ."action.reason")}}' "$source"
      ;;
    collector)
      jq -cR 'fromjson? | .resourceLogs[].scopeLogs[].logRecords[]
        | (.attributes | map({(.key): .value.stringValue}) | add) as $a
        | (.timeUnixNano | tonumber / 1000000 | floor) as $ms
        | {event: (.eventName | ltrimstr("ai_gateway.")), test: $a["ai_gateway.test_id"], show: {
          time: (($ms / 1000 | floor | todate[11:19]) + "." + ($ms % 1000 + 1000 | tostring[1:])),
          SeverityText: .severityText, EventName: .eventName, "user.email": $a["user.email"],
          "server.address": $a["server.address"], "gen_ai.tool.name": $a["gen_ai.tool.name"], "ai_gateway.status": $a["ai_gateway.status"],
          "failure, cause": ($a["ai_gateway.auth_failure"] // $a["ai_gateway.route_cause"] // $a["gen_ai.guardrail.verdict.reason"])}}' "$source"
      ;;
    stdout)
      kubectl --namespace "$source" logs deployment/audited-exporter |
        jq -cR 'fromjson? | objects | select(.schema_version) | {event, test: ."test.id", show: {
          time: .timestamp[11:23], severity, event, "user.email": ."user.email", "mcp.server_name": ."mcp.server_name",
          "tool.name": ."tool.name", status, "failure, cause": (."auth.failure" // ."route.cause" // ."action.reason")}}'
      ;;
  esac
}

# The test event, and what came after it of the calls. The other events are about the pool itself, such as its start.
until shown=$(records | jq -ser --arg id "$id" '
    .[(map(.test == $id) | index(true) // length):]
    | map(select(.event | IN("test_event", "tool_call", "auth_denied", "route_not_found")))
    | map(.event) as $names
    | if (["test_event", "auth_denied", "route_not_found"] - $names) == [] and ($names | map(select(. == "tool_call")) | length) >= 2
      then . else empty end
    | sort_by(.show.time)
    | (.[0].show | keys_unsorted), (.[] | [.show[] | . // ""])
    | @tsv'); do
  [ "$SECONDS" -lt "$deadline" ] || { echo "$kind has not received the events of the calls in time" >&2; exit 1; }
  sleep 0.5
done
"$here/../table.sh" <<< "$shown"
