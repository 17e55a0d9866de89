#!/usr/bin/env bash
# Installs the real receivers that the exporter is tested against: rsyslog and syslog-ng, an OpenTelemetry Collector, an
# OpenSearch node, moto's EventBridge, and the libraries with which vendors' customers check or send the same things.
#
# Versions are pinned with all that they need (requirements.txt, npm/package-lock.json, collector/go.sum,
# opensearch/pom.xml); of Debian's packages, the release has one version each. Everything goes to a cache outside the
# checkout, in a folder named after the content of those files and of this one. Safe to repeat: what is there already is
# left alone, and a half-finished installation is made again.
#
#   setup.sh              prints the folder
#   setup.sh collector    installs no more than the Collector, and prints its path: the benchmark needs nothing else
#   setup.sh syslog       unpacks no more than rsyslog and syslog-ng, and prints the folder: for the demo
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
cache="${XDG_CACHE_HOME:-$HOME/.cache}/ai-gateway-operator/receivers"
mkdir -p "$cache"

# Two tests may ask at once.
exec 9>"$cache/.lock"
flock 9

# install PART INPUTS -- COMMAND...: runs the command, which fills the empty folder of this part and of these inputs,
# unless it has done so before; sets part
install() {
  local name="$1" inputs=() started=$SECONDS
  shift
  while [ "$1" != -- ]; do inputs+=("$here/$1"); shift; done
  shift
  part="$cache/$name-$(cat "$here/setup.sh" "${inputs[@]}" | sha256sum | cut -c1-16)"
  [ -f "$part/.installed" ] && return
  rm -rf "$part"
  mkdir "$part"
  "$@" "$part" >&2
  touch "$part/.installed"
  echo "installed $name into $part, $((SECONDS - started)) s" >&2
}

# The two can not be installed at once, and each would take the place of this machine's own logger: so they are unpacked
# and no more, with the libraries that not every Debian has.
syslog() { # syslog FOLDER
  local packages=(
    rsyslog rsyslog-openssl libestr0 libfastjson4 liblognorm5
    syslog-ng-core libivykis0 libjson-c5 libnet1 libpcre3 libwrap0 libglib2.0-0 libcap2
  )
  (
    cd "$1"
    download() { apt-get -qq -o APT::Sandbox::User=root download "${packages[@]}"; }
    # The lists may be missing, or older than the packages.
    download 2>/dev/null || { apt-get -qq update && download; }
    for package in *.deb; do dpkg-deb --extract "$package" .; done
    rm -- *.deb
  )
}

python() { # python FOLDER
  python3 -m venv "$1"
  "$1/bin/pip" install --quiet --disable-pip-version-check --no-compile --no-deps --requirement "$here/requirements.txt"
  "$1/bin/pip" check --quiet --disable-pip-version-check
}

npm_packages() { # npm_packages FOLDER
  cp "$here"/npm/package{,-lock}.json "$1"
  npm ci --prefix "$1" --silent --no-fund --no-audit --ignore-scripts
}

jars() { # jars FOLDER
  # The repository is of no use once the jars are copied.
  local repository
  repository="$(mktemp -d)"
  mvn --quiet --batch-mode --file "$here/opensearch/pom.xml" "-Dmaven.repo.local=$repository" \
    org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies "-DoutputDirectory=$1" 2>&1 | sed 's/\x1b\[[0-9;]*m//g'
  rm -rf "$repository"
}

collector() { # collector FOLDER
  (cd "$here/collector" && GOFLAGS=-mod=readonly go build -buildvcs=false -trimpath -ldflags='-s -w' -o "$1/collector" .)
}

install_collector() { install collector collector/{main.go,go.mod,go.sum,statusutil/go.mod,statusutil/statusutil.go} -- collector; }
install_syslog() { install syslog -- syslog; }

case "${1:-}" in
  collector) install_collector; echo "$part/collector"; exit ;;
  syslog) install_syslog; echo "$part"; exit ;;
  "") ;;
  *) echo "setup.sh: unknown argument $1" >&2; exit 2 ;;
esac
install_collector
parts=("$part")
install_syslog
parts+=("$part")
install python requirements.txt -- python
parts+=("$part")
install npm npm/package.json npm/package-lock.json -- npm_packages
parts+=("$part")
install opensearch opensearch/pom.xml -- jars
parts+=("$part")

# One folder with all of them, whose name says which versions they are of.
all="$cache/all-$(printf '%s\n' "${parts[@]}" | sha256sum | cut -c1-16)"
mkdir -p "$all"
for part in "${parts[@]}"; do
  name="$(basename "$part")"
  ln -sfn "$part" "$all/${name%-*}"
done
echo "$all"
