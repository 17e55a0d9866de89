#!/usr/bin/env bash
# Prints the path of a Python that has the official MCP package, in the version of the example server's image. It is installed once,
# outside the checkout.
set -euo pipefail
requirements=$(dirname "$0")/../images/example-mcp/requirements.txt
venv=${XDG_CACHE_HOME:-$HOME/.cache}/ai-gateway-operator/python-$(sha256sum < "$requirements" | cut -c1-12)
# Two that start at once must not install over each other.
mkdir -p "$(dirname "$venv")"
exec 9> "$venv.lock"
flock 9
if [ ! -e "$venv/ready" ]; then
  echo "  installing the official MCP package for Python (once)" >&2
  rm -rf "$venv"
  python3 -m venv "$venv" >&2 || { echo "python3 can not make a virtual environment; on Debian: apt-get install python3-venv" >&2; exit 1; }
  "$venv/bin/pip" install --quiet --disable-pip-version-check -r "$requirements" >&2
  touch "$venv/ready"
fi
echo "$venv/bin/python"
