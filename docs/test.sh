#!/usr/bin/env bash
# Checks that the documents agree with the code: every reason is documented and every documented one exists, every field and code of
# a destination is explained, and links between files lead somewhere.
set -euo pipefail
cd "$(dirname "$0")/.."
passed=0
failed=0
ok() { passed=$((passed + 1)); }
not_ok() { failed=$((failed + 1)); echo "FAILED: $1" >&2; }

# Everything in capitals-in-the-middle between quotes in these places is a reason, apart from the words below.
sources=(operator/src/pool operator/src/mcp_server operator/src/siem_export operator/src/world/material.rs operator/src/world/pods.rs operator/src/child/apply.rs operator/src/conditions.rs)
# Condition types, kinds, fields of Kubernetes, kubelet's words and metric labels.
others='Accepted|ResolvedRefs|RedisReady|ArmorReady|ExporterReady|ConfigInSync|AuthorizationOpen|Programmed|Ready|Workload
|Armor|Redis|Exporter|HTTP|TCP|McpServer|Pool|SiemExport|Sent|Stored|Secret|ConfigMap|ServiceAccount|Service|StatefulSet|Deployment|NetworkPolicy|PodDisruptionBudget|PodMonitor
|PersistentVolumeClaim|PodScheduled|ReplicaFailure|ProgressDeadlineExceeded|ImagePullBackOff|ErrImagePull|InvalidImageName|ErrImageNeverPull
|CrashLoopBackOff|CreateContainerConfigError|CreateContainerError|RunContainerError
|RollingUpdate|AlwaysAllow|Parallel|OnRootMismatch|RuntimeDefault|ReadWriteOnce|Filesystem|Delete|Retain|Opaque|Ingress|ClusterIP
|Healthy|Degraded|Progressing|Failed|Succeeded|ValidatingAdmissionPolicy|Pending|Unknown|True|False|Connected|ReferenceUnreadable|RenderFailed|StatusNotWritten|ApiServerUnavailable'
code=$(grep -rhoE '"[A-Z][a-zA-Z]+"' --include='*.rs' "${sources[@]}" | tr -d '"' | sort -u | grep -vxE "${others//$'\n'/}" || true)
document=docs/reference/conditions.md
for reason in $code; do
  if grep -qF "\`$reason\`" "$document"; then ok; else not_ok "$document does not explain the reason $reason"; fi
done
while read -r reason; do
  if grep -rqF "\"$reason\"" --include='*.rs' operator/src armor/src crds/src; then ok; else not_ok "$document explains $reason, which no code gives"; fi
done < <(
  # shellcheck disable=SC2016 # the backticks are Markdown's
  grep -oE '^\| `[A-Z][A-Za-z`, ]+` \|' "$document" | grep -oE '[A-Z][A-Za-z]+' | sort -u
)

# Names of metrics, by the file that registers them: first arguments, or names beside their help in the exporter's tuples.
registered() {
  tr '\n' ' ' < "$1" | grep -oE 'register\( *"[a-z_]+"|\("[a-z_]+", "[A-Z0-9]' | grep -oE '"[a-z_]+"' | tr -d '"' | sort -u
}
while read -r prefix source; do
  while read -r name; do
    if grep -qE "\`${prefix}_${name}(_total|_info)?\`" docs/reference/metrics.md; then ok; else not_ok "docs/reference/metrics.md does not explain ${prefix}_$name"; fi
  done < <(registered "$source")
done << 'END'
ai_gateway_operator operator/src/metrics.rs
armor armor/src/metrics.rs
armor_audit armor/src/audit/metrics.rs
exporter exporter/src/metrics.rs
END
# And each documented one is registered.
metrics=$(for source in operator/src/metrics.rs armor/src/metrics.rs armor/src/audit/metrics.rs exporter/src/metrics.rs; do registered "$source"; done)
while read -r name; do
  short=${name#ai_gateway_operator_}
  short=${short#armor_}
  short=${short#audit_}
  short=${short#exporter_}
  short=${short%_info}
  if grep -qxF "${short%_total}" <<< "$metrics"; then ok; else
    not_ok "docs/reference/metrics.md explains $name, which no code registers"
  fi
done < <(
  # shellcheck disable=SC2016 # the backticks are Markdown's
  sed -n 's/^| `\(\(ai_gateway_operator\|armor\|exporter\)_[a-z_]*\)` |.*/\1/p' docs/reference/metrics.md
)

# Each destination's page explains every field of its block and every code that its answers can give; the README those of all.
fixed_codes() {
  sed -s '/#\[cfg(test)\]/,$d' "$@" | tr '\n' ' ' | grep -oE '(fixed|auth|retry|drop)\( *"[A-Za-z0-9_-]+"' | grep -oE '"[^"]+"' | tr -d '"' | sort -u
}
while read -r folder page; do
  folder=exporter/src/destination/$folder
  while read -r field; do
    if grep -qE "^\| [^|]*\`$field\`" "docs/siem/$page.md"; then ok; else not_ok "docs/siem/$page.md does not explain the field $field"; fi
  done < <(sed -n '/^pub struct Spec/,/^}/p' "$folder/config.rs" | sed -nE 's/^    pub ([a-z_]+):.*/\1/p' | sed -E 's/_([a-z])/\U\1/g')
  # The lists of an answer's own words, one a line.
  words=$(sed -sn '/^const [A-Z]*: \[&str; [0-9]*\] = \[$/,/^\];/p' "$folder"/*.rs | grep -oE '^    "[a-z]+_[a-z_]+"' | tr -d ' "' || true)
  for code in $(fixed_codes "$folder"/*.rs || true) $words; do
    if grep -qF "\`$code\`" "docs/siem/$page.md"; then ok; else not_ok "docs/siem/$page.md does not explain the code $code"; fi
  done
done << 'END'
splunk splunk
datadog datadog
otlp otlp
syslog syslog
sentinel sentinel
event_bridge eventbridge
sumo_logic sumologic
coralogix coralogix
elasticsearch elasticsearch
webhook webhook
stdout stdout
END
while read -r code; do
  if sed -n '/^## Codes of every destination/,$p' docs/siem/README.md | grep -qE "^\| [^|]*\`$code\`"; then ok; else not_ok "docs/siem/README.md does not explain the code $code"; fi
done < <(sed '/#\[cfg(test)\]/,$d' exporter/src/cause.rs | grep -oE '=> "[a-z-]+"' | grep -oE '[a-z][a-z-]+')
# The shells around the pure folders have codes of their own, of several destinations.
while read -r source; do
  for code in $(fixed_codes "$source" || true); do
    if grep -qF "\`$code\`" docs/siem/*.md; then ok; else not_ok "no page under docs/siem explains the code $code of $source"; fi
  done
done < <(find exporter/src -path exporter/src/destination -prune -o -name '*.rs' -print)

# The event that a page shows is the one that the encoder's test compares with: file, how to find the event in it.
while read -r page golden filter; do
  # shellcheck disable=SC2016 # the backticks are Markdown's
  shown=$(sed -n '/^## What arrives/,/^## /p' "docs/siem/$page.md" | sed -n '/^```json$/,/^```$/{/^```/!p}' | jq -cS .)
  real=$(sed '1,/^$/d' "exporter/tests/golden/$golden" | jq -cSs "$filter")
  if [ "$shown" = "$real" ]; then ok; else not_ok "docs/siem/$page.md shows another event than exporter/tests/golden/$golden"; fi
done << 'END'
splunk splunk/request.txt .[0]
datadog datadog/request.txt .[0][0]
sentinel sentinel/request.txt .[0][0]
elasticsearch elasticsearch/request.txt .[1]
eventbridge event_bridge/request.keys.txt .[0].Entries[0] | .Detail |= fromjson
sumologic sumo_logic/request.txt .[0]
webhook webhook/request.txt .[0] | .data |= .[:1]
END

while IFS= read -r message; do
  if grep -qxF -- "$message" exporter/tests/golden/syslog/tool_call.blocked.*.txt; then ok; else not_ok "docs/siem/syslog.md shows another message than exporter/tests/golden/syslog"; fi
done < <(grep '^<' docs/siem/syslog.md)

while IFS=: read -r file link; do
  target=${link#*](}
  target=${target%)}
  target=${target%%#*}
  case $target in '' | http*) continue ;; esac
  if [ -e "$(dirname "$file")/$target" ]; then ok; else not_ok "$file: no file $target"; fi
done < <(git ls-files -co --exclude-standard -- '*.md' | xargs grep -oE '\]\([^) ]+\)' --with-filename)

for target in $(git ls-files -co --exclude-standard -- '*.md' | xargs grep -ohE '(^|[`])make( -s)? [a-z0-9-]+' | awk '{print $NF}' | sort -u); do
  if grep -qE "^$target:" Makefile e2e/cluster/cluster.mk; then ok; else not_ok "a document names 'make $target', which does not exist"; fi
done

lines=$(wc -l < README.md)
if [ "$lines" -le 150 ]; then ok; else not_ok "README.md has $lines lines; its limit is 150"; fi

echo "docs: $passed passed, $failed failed"
[ "$failed" -eq 0 ]
