#!/usr/bin/env bash
# Two receivers of audit events outside the cluster, as processes of this machine on the address by which Pods of the local
# cluster reach it: rsyslog over TLS with a client certificate, and an OpenTelemetry Collector by OTLP over HTTPS. Each
# writes what it receives to a file, an object of JSON a line.
#
#   receivers.sh start FOLDER    safe to repeat
#   receivers.sh stop FOLDER
#
# FOLDER gets ca.crt, client.crt and client.key for whoever sends, and the files syslog.received and collector.received.
# SYSLOG_PORT (16514) and OTLP_PORT (14318) say where they listen.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=e2e/demo/process.sh
. "$here/../process.sh"
setup=$here/../../../exporter/tests/receivers/setup.sh
folder=$2
syslog_port=${SYSLOG_PORT:-16514}
otlp_port=${OTLP_PORT:-14318}

# A certificate of the demo's own authority.
certificate() { # NAME SUBJECT-ALTERNATIVE-NAMES
  openssl req -newkey rsa:2048 -nodes -subj "/CN=$1" -keyout "$folder/$1.key" -out "$folder/$1.csr" 2>/dev/null
  openssl x509 -req -in "$folder/$1.csr" -CA "$folder/ca.crt" -CAkey "$folder/ca.key" -CAcreateserial -days 30 \
    -extfile <(echo "subjectAltName=$2") -out "$folder/$1.crt" 2>/dev/null
  rm "$folder/$1.csr"
}

# New ones from a day before they end; the receivers read theirs at start.
certificates() { # ADDRESS NAME
  if openssl verify -CAfile "$folder/ca.crt" "$folder/server.crt" "$folder/client.crt" > /dev/null 2>&1 &&
    openssl x509 -in "$folder/ca.crt" -noout -checkend 86400 > /dev/null; then return; fi
  stop
  openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj "/CN=CA of the demo" -addext keyUsage=critical,keyCertSign \
    -keyout "$folder/ca.key" -out "$folder/ca.crt" 2>/dev/null
  certificate server "DNS:$2,IP:$1"
  certificate client DNS:exporter
}

write_syslog_conf() { # ADDRESS
  cat > "$folder/syslog.conf" <<EOF
global(workDirectory="$folder" DefaultNetstreamDriver="ossl" DefaultNetstreamDriverCAFile="$folder/ca.crt"
  DefaultNetstreamDriverCertFile="$folder/server.crt" DefaultNetstreamDriverKeyFile="$folder/server.key")
module(load="imtcp" StreamDriver.Name="ossl" StreamDriver.Mode="1" StreamDriver.AuthMode="x509/certvalid")
template(name="line" type="list" option.jsonf="on") {
  property(outname="severity" name="syslogseverity-text" format="jsonf")
  property(outname="app" name="app-name" format="jsonf")
  property(outname="msgid" name="msgid" format="jsonf")
  property(outname="msg" name="msg" format="jsonf")
}
ruleset(name="keep") { action(type="omfile" file="$folder/syslog.received" template="line") }
input(type="imtcp" port="$syslog_port" address="$1" ruleset="keep")
EOF
}

write_collector_conf() { # ADDRESS
  cat > "$folder/collector.yaml" <<EOF
receivers:
  otlp:
    protocols:
      http:
        endpoint: $1:$otlp_port
        tls: {cert_file: "$folder/server.crt", key_file: "$folder/server.key"}
exporters:
  file: {path: "$folder/collector.received", append: true, flush_interval: 100ms}
service:
  pipelines:
    logs: {receivers: [otlp], exporters: [file]}
EOF
}

start() {
  local host address name syslog collector libraries modules
  host=$(host_for_pods)
  read -r address name <<< "$host"
  syslog=$("$setup" syslog)
  collector=$("$setup" collector)
  umask 077
  mkdir -p "$folder"
  folder=$(realpath "$folder")
  certificates "$address" "$name"
  touch "$folder/syslog.received" "$folder/collector.received"
  write_syslog_conf "$address"
  write_collector_conf "$address"
  # Unpacked and not installed: the program finds its own libraries and modules only when told.
  libraries=$(printf '%s:' "$syslog"/usr/lib/*-linux-gnu "$syslog"/lib/*-linux-gnu)
  modules=$(printf '%s:' "$syslog"/usr/lib/*-linux-gnu/rsyslog)
  process_start "$folder/syslog.pid" "$address" "$syslog_port" \
    env LD_LIBRARY_PATH="${libraries%:}" "$syslog/usr/sbin/rsyslogd" -n -i NONE -f "$folder/syslog.conf" -M "${modules%:}"
  echo "  rsyslog over TLS          $name:$syslog_port"
  process_start "$folder/collector.pid" "$address" "$otlp_port" "$collector" --config "$folder/collector.yaml"
  echo "  OpenTelemetry Collector   https://$name:$otlp_port"
}

stop() {
  process_stop "$folder/syslog.pid"
  process_stop "$folder/collector.pid"
}

"$1"
