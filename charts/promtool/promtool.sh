#!/usr/bin/env bash
# Builds promtool from its Go module where it is missing, and prints its path.
#
# The version is that of go.mod here. The program goes to a cache outside the checkout, in a folder named after the content of
# go.mod, go.sum and this file, so that a finished one is never changed. About 4 minutes on 2 cores when nothing is cached.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
folder="${XDG_CACHE_HOME:-$HOME/.cache}/ai-gateway-operator/promtool/$(cat "$here"/go.{mod,sum} "$here"/promtool.sh | sha256sum | cut -c1-16)"
if [ ! -x "$folder/promtool" ]; then
  mkdir -p "$folder"
  # Two checks may ask at once.
  exec 9> "$folder/.lock"
  flock 9
  if [ ! -x "$folder/promtool" ]; then
    echo "building promtool into $folder" >&2
    # The final name means finished.
    (cd "$here" && CGO_ENABLED=0 GOFLAGS='' GOWORK=off nice go build -mod=readonly -trimpath -buildvcs=false -ldflags "-s -w" \
      -o "$folder/.unfinished" github.com/prometheus/prometheus/cmd/promtool) >&2
    mv "$folder/.unfinished" "$folder/promtool"
  fi
fi
echo "$folder/promtool"
