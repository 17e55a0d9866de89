# shellcheck shell=bash
# Processes of this machine that outlive the script that starts them. To be sourced.
#
# Each has a record: a file with its pid and its start time (field 22 of proc_pid_stat(5)). A process is ours only if both
# fit, so that none of somebody else's is ever ended.

# The name in brackets may hold spaces.
process_start_time() { sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20; }

process_runs() { # RECORD; sets pid
  local started
  [ -r "$1" ] && read -r pid started < "$1" && [ -n "$started" ] && [ "$(process_start_time "$pid")" = "$started" ]
}

process_listens() { (exec 3<> "/dev/tcp/$1/$2") 2>/dev/null; } # ADDRESS PORT

# Starts a process, unless it runs, and waits until it listens. Its output goes to a file beside the record.
process_start() { # RECORD ADDRESS PORT COMMAND...
  local record=$1 address=$2 port=$3 log=${1%.pid}.log deadline=$((SECONDS + 20))
  shift 3
  if ! process_runs "$record"; then
    if process_listens "$address" "$port"; then echo "something else listens on $address:$port" >&2; return 1; fi
    setsid "$@" > "$log" 2>&1 < /dev/null &
    pid=$!
    echo "$pid $(process_start_time "$pid")" > "$record"
  fi
  until process_listens "$address" "$port"; do
    if ! process_runs "$record" || [ "$SECONDS" -ge "$deadline" ]; then
      cat "$log" >&2
      echo "nothing listens on $address:$port" >&2
      return 1
    fi
    sleep 0.2
  done
}

process_stop() { # RECORD
  local deadline=$((SECONDS + 10))
  if process_runs "$1"; then
    kill "$pid"
    while process_runs "$1"; do
      if [ "$SECONDS" -ge "$deadline" ]; then kill -KILL "$pid"; break; fi
      sleep 0.1
    done
  fi
  rm -f "$1"
}

# The address by which Pods of the local cluster reach this machine, and its name: "10.213.0.1 host.cluster.internal".
host_for_pods() {
  "$(dirname "${BASH_SOURCE[0]}")/../cluster/clusterctl" status |
    sed -n 's/^this machine, for Pods *\([0-9.]*\), also as \(.*\)/\1 \2/p' | grep . || { echo "the local cluster does not run" >&2; return 1; }
}
