#!/usr/bin/env bash
# Installs the platforms' own validators and prints their folder: AppInspect of Splunk and the data models that its add-ons
# are tested with, pySigma, the API client of Datadog, and Microsoft's parser of the Kusto Query Language.
#
# Versions are pinned with all that they need: requirements.txt, package-lock.json. They go to a cache outside the checkout, in a
# folder named after the content of those files and of this one. Safe to repeat; a half-finished installation is made again.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
folder="${XDG_CACHE_HOME:-$HOME/.cache}/ai-gateway-operator/content/$(cat "$here"/{setup.sh,requirements.txt,package.json,package-lock.json} | sha256sum | cut -c1-16)"
if [ ! -f "$folder/.installed" ]; then
  mkdir -p "$folder"
  # Two checks may ask at once.
  exec 9> "$folder/.lock"
  flock 9
  if [ ! -f "$folder/.installed" ]; then
    echo "installing the validators of the content into $folder" >&2
    rm -rf "$folder/venv" "$folder/npm"
    python3 -m venv "$folder/venv"
    "$folder/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps --requirement "$here/requirements.txt" >&2
    mkdir "$folder/npm"
    cp "$here"/package{,-lock}.json "$folder/npm"
    npm ci --prefix "$folder/npm" --silent --no-fund --no-audit --ignore-scripts >&2
    touch "$folder/.installed"
  fi
fi
echo "$folder"
