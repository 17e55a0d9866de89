#!/usr/bin/env bash
# Prints an example with the images and the address of this machine's demo in place of the ones in the file.
#
#   render.sh FILE      environment: EXAMPLE_MCP_IMAGE, REDIS_IMAGE, REMOTE_URL
set -euo pipefail
sed \
  -e "s|localhost/example-mcp:dev|${EXAMPLE_MCP_IMAGE:-localhost/example-mcp:dev}|" \
  -e "s|localhost/redis:dev|${REDIS_IMAGE:-localhost/redis:dev}|" \
  -e "s|https://mcp.example.com/mcp|${REMOTE_URL:-https://mcp.example.com/mcp}|" \
  "$1"
