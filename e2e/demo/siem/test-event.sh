#!/usr/bin/env bash
# Sends a test event to every destination of the SiemExport `soc`, and waits for what each says. Ends with 1 if one says
# anything but Delivered.
#
#   test-event.sh NAMESPACE ID SECONDS
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
namespace=$1
id=$2
deadline=$((SECONDS + $3))

export_json() { kubectl --namespace "$namespace" get siemexport soc -o json; }

explain() {
  echo "what the cluster says:"
  export_json | jq -r '(.status.conditions[]?, .status.destinations[]?) | "  \(.type // .name)  \(.status // .state)  \(.message // "")"'
  kubectl --namespace "$namespace" get pods -o wide
  kubectl --namespace "$namespace" logs deployment/audited-exporter --tail 20
}

# Without an exporter that runs, a test ends as Unreachable.
kubectl --namespace "$namespace" wait siemexport/soc --for=condition=Delivering --timeout="${3}s" > /dev/null || { explain >&2 || true; exit 1; }
export_json | jq -c --arg id "$id" '{spec: {test: {id: $id, destinations: [.spec.destinations[].name]}}}' |
  kubectl --namespace "$namespace" patch siemexport soc --type merge --patch-file /dev/stdin > /dev/null
until results=$(export_json | jq -er --arg id "$id" '
    (.spec.destinations | length) as $count
    | [.status.destinations[]? | select(.lastTest.id == $id)]
    | if length == $count then . else empty end
    | ["DESTINATION", "RESULT", "ASSURANCE", "MESSAGE"],
      (.[] | [.name, .lastTest.result, .assurance, .lastTest.message])
    | @tsv'); do
  [ "$SECONDS" -lt "$deadline" ] || { echo "the test $id has no result in time" >&2; explain >&2 || true; exit 1; }
  sleep 0.5
done
"$here/../table.sh" <<< "$results"
if awk -F '\t' 'NR > 1 && $2 != "Delivered"' <<< "$results" | grep -q .; then explain >&2 || true; exit 1; fi
