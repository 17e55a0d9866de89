# shellcheck shell=bash
# What a test script needs around Armor: a real Redis, an Armor with two directories, and servers, each on a free port,
# each with its log in a folder that is kept, and each ended with the script. To be sourced, after `set -euo pipefail`.
#
#   peers                   installs the peers and exports the variables of `setup.sh --env`
#   stand FOLDER            empties FOLDER, where logs and configuration go, and sets the traps
#   start NAME COMMAND...   runs a command in the background: FOLDER/NAME.log
#   start_redis             sets redis_port
#   start_armor NAME        takes the rest of armor.yaml (auth, servers) on stdin, and further secrets from
#                           FOLDER/NAME/secrets; sets armor_url and admin_url. Returns once every server is Ready.
#   stop NAME               ends it with SIGTERM and waits; fails as it does
#   await WHAT COMMAND...   until the command succeeds, for 30 s at most
#
# ARMOR_BIN names the binary under test; without it the debug build is made and used.

STAND_DEADLINE_SECONDS=30
declare -A stand_pids=()

peers() {
  local paths key value
  paths="$("$(dirname "${BASH_SOURCE[0]}")/setup.sh" --env)"
  while IFS='=' read -r key value; do export "$key=$value"; done <<<"$paths"
}

stand() {
  stand_folder="$1"
  rm -rf "$stand_folder"
  mkdir -p "$stand_folder"
  trap stand_end EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM
}

stand_end() {
  local pid
  for pid in "${stand_pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  # A second signal cuts Armor's drain short.
  for pid in "${stand_pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  wait || true
}

# A port below those that the system gives to outgoing connections, so that none of them takes it in the meantime.
free_port() {
  python3 - <<'PY'
import random, socket
while True:
    port = random.randrange(20000, 32000)
    with socket.socket() as s:
        try:
            s.bind(("0.0.0.0", port))
        except OSError:
            continue
    print(port)
    break
PY
}

start() {
  "${@:2}" >"$stand_folder/$1.log" 2>&1 &
  stand_pids[$1]=$!
}

# stop NAME: as Kubernetes does it, and waits for its end
stop() {
  kill "${stand_pids[$1]}"
  wait "${stand_pids[$1]}"
  unset "stand_pids[$1]"
}

await() {
  local deadline=$((SECONDS + STAND_DEADLINE_SECONDS))
  until "${@:2}" >/dev/null 2>&1; do
    if [ "$SECONDS" -ge "$deadline" ]; then
      echo "$1 does not come within $STAND_DEADLINE_SECONDS s; the logs are in $stand_folder:" >&2
      tail -n 5 "$stand_folder"/*.log >&2
      return 1
    fi
    sleep 0.1
  done
}

# answers URL [CURL-OPTION...]: does something speak HTTP there?
answers() { curl -s -o "$stand_folder/answer" --max-time 2 "${@:2}" "$1"; }

start_redis() {
  redis_port="$(free_port)"
  start redis redis-server --port "$redis_port" --bind 127.0.0.1 --save "" --dir "$stand_folder"
  await Redis redis-cli -p "$redis_port" ping
}

armor_binary() {
  if [ -z "${ARMOR_BIN:-}" ]; then
    local root
    root="$(cd "$(dirname "${BASH_SOURCE[0]}")/../../.." && pwd)"
    # The same selection as `make images`: another one would build half of the dependencies again, with other features.
    (cd "$root" && cargo build -q --locked -p operator -p armor)
    ARMOR_BIN="$root/target/debug/armor"
  fi
}

all_servers_ready() {
  curl -s --max-time 2 -H 'Authorization: Bearer stand' "$admin_url/servers" |
    jq -e 'all(.servers[]; .state == "Ready")'
}

# shellcheck disable=SC2034 # armor_url is for the caller
start_armor() {
  local folder="$stand_folder/$1" port admin
  port="$(free_port)"
  admin="$(free_port)"
  mkdir -p "$folder/config" "$folder/secrets"
  printf stand >"$folder/secrets/admin-token"
  {
    cat <<YAML
revision: "1"
pool: {id: stand, name: stand, namespace: stand}
listener: {port: $port}
admin: {port: $admin, tokenFile: admin-token}
redis: {url: "redis://127.0.0.1:$redis_port"}
audit: {stream: "audit:{$1}:events", streamMaxBytes: 268435456, parameters: Names}
YAML
    cat
  } >"$folder/config/armor.yaml"
  armor_binary
  start "$1" "$ARMOR_BIN" run --config-dir "$folder/config" --secrets-dir "$folder/secrets"
  armor_url="http://127.0.0.1:$port/mcp"
  admin_url="http://127.0.0.1:$admin"
  await "readiness of $1" curl -sf --max-time 2 "$admin_url/readyz"
  await "the handshake of $1 with its servers" all_servers_ready
}
