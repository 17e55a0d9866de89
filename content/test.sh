#!/usr/bin/env bash
# Reads the content with the validators of its platforms, where there are such: content/README.md says which.
set -euo pipefail
cd "$(dirname "$0")/.."

# The platforms' loaders read these as they are.
for file in $(git ls-files -co --exclude-standard -- 'content/*.json' 'content/*.ndjson'); do
  jq empty "$file" || { echo "FAILED: $file is no JSON" >&2; exit 1; }
done
folder=$(content/validate/setup.sh)
"$folder/venv/bin/python" content/validate/check.py "$folder"
