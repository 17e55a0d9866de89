#!/usr/bin/env bash
# Checks the rules for Prometheus and the dashboard for Grafana that the chart installs: promtool reads them and runs
# the unit tests of the alerts, every metric in them is documented, and every alert leads to a paragraph of the documents.
#
#   PROMTOOL=/path/to/promtool   another promtool than the one that charts/promtool/promtool.sh builds
set -euo pipefail
cd "$(dirname "$0")/.."

promtool=${PROMTOOL:-$(charts/promtool/promtool.sh)}
rules=charts/ai-gateway-operator/files/rules.yaml
dashboard=charts/ai-gateway-operator/files/dashboard.json
tests=charts/tests/rules.test.yaml
metrics=docs/reference/metrics.md
alerts=docs/reference/alerts.md
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# shellcheck source=charts/tests/assert.sh
source charts/tests/assert.sh

if output=$("$promtool" check rules --lint=all --lint-fatal "$rules" 2>&1); then ok; else not_ok "promtool check rules" "$output"; fi
if output=$("$promtool" test rules "$tests" 2>&1); then ok; else not_ok "promtool test rules" "$output"; fi

# Each alert has what a person needs who is woken by it, and a test in both directions.
while read -r alert; do
  for case in fires 'is silent'; do
    if grep -qxF -- "- name: $alert $case" "$tests"; then ok; else not_ok "$tests has no case '$alert $case'"; fi
  done
  rule=$(awk -v start="  - alert: $alert" '$0 == start { on = 1; print; next } /^( {2})?- / { on = 0 } on' "$rules")
  for key in 'for' severity summary description; do
    if grep -qE "^ +$key: " <<< "$rule"; then ok; else not_ok "$rules: $alert has no $key"; fi
  done
  anchor=$(tr '[:upper:]' '[:lower:]' <<< "$alert")
  if grep -q "^ *runbook_url: .*/$alerts#$anchor\$" <<< "$rule"; then ok; else not_ok "$rules: the runbook_url of $alert does not end in $alerts#$anchor"; fi
  if grep -qx "### $alert" "$alerts"; then ok; else not_ok "$alerts has no heading '### $alert'"; fi
done < <(sed -n 's/^  - alert: //p' "$rules")
while read -r alert; do
  if grep -qx "  - alert: $alert" "$rules"; then ok; else not_ok "$alerts explains $alert, which no rule gives"; fi
done < <(sed -n 's/^### //p' "$alerts")

# The queries of the dashboard are PromQL: as recording rules, which JSON can write too, promtool parses them.
if ! jq -e '.panels | length > 0' "$dashboard" > /dev/null; then not_ok "$dashboard is no dashboard"; fi
jq '{groups: [{name: "dashboard", rules: [.panels[].targets[]?.expr] | to_entries
  | map({record: "query_\(.key)", expr: (.value | gsub("\\$__rate_interval"; "5m"))})}]}' "$dashboard" > "$work/dashboard.yaml"
if output=$("$promtool" check rules "$work/dashboard.yaml" 2>&1); then ok; else not_ok "a query of $dashboard does not parse" "$output"; fi
if output=$(jq -r '[.panels[].id] | group_by(.)[] | select(length > 1) | "panel id \(.[0]) is used \(length) times"' "$dashboard") && [ -z "$output" ]; then ok; else
  not_ok "$dashboard" "$output"
fi

# Whatever is queried exists: a metric is in the documents (docs/test.sh holds these against the code), a recorded series in the rules.
names() { grep -ohE '[a-z_0-9]*:?(ai_gateway_operator|armor|exporter)_[a-z_0-9]+(:[a-z_0-9]+)?' "$1" | sort -u; }
{ sed -n '/^ *expr:/,/^ *\(for\|labels\|- \)/p' "$rules"; jq -r '.. | strings' "$dashboard"; sed -n 's/^ *- series: //p' "$tests"; } > "$work/queries"
while read -r name; do
  case $name in
    *:*) if grep -qxF "  - record: $name" "$rules"; then ok; else not_ok "no rule records $name"; fi ;;
    *)
      plain=${name%_bucket}
      if grep -qE "^\| \`$plain\` \|" "$metrics"; then ok; else not_ok "$metrics does not explain $plain"; fi
      ;;
  esac
done < <(names "$work/queries")
while read -r name; do
  if grep -qF -- "$name" "$dashboard" || grep -qF -- "$name" <(grep -v -- '- record:' "$rules"); then ok; else not_ok "nothing reads the recorded series $name"; fi
done < <(sed -n 's/^  - record: //p' "$rules")

echo "monitoring: $passed passed, $failed failed"
[ "$failed" -eq 0 ]
