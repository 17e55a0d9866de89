# shellcheck shell=bash
# Counts what a check of the charts found. To be sourced.

passed=0
failed=0

ok() { passed=$((passed + 1)); }
not_ok() {
  failed=$((failed + 1))
  echo "FAILED: $1" >&2
  shift
  if [ $# -gt 0 ]; then printf '%s\n' "$@" | head -40 | sed 's/^/    /' >&2; fi
}
