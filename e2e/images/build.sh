#!/bin/bash
# Builds the images of the local cluster from what this machine has, without any registry, and prints
# the path of each OCI archive. The images that users get come from the Dockerfiles; these hold the
# same programs with the machine's own C library.
#
#   build.sh [IMAGE...]     build these, or all
#   build.sh --list         print the archives that are there
#
# PROFILE (default release) chooses target/PROFILE for the operator, Armor and the exporter.
#
# shellcheck disable=SC2034 # the settings of each image are read by name, in build()
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/ai-gateway-operator
archives=$cache/images
target=${CARGO_TARGET_DIR:-$here/../../target}/${PROFILE:-release}
all=(pause redis operator armor exporter example-mcp)

say() { echo "$*" >&2; }
fail() { say "build.sh: $*"; exit 1; }

# Where Debian keeps the parts that every dynamically linked image needs.
skeleton() { # ROOT
    mkdir -p "$1"/{usr/bin,usr/lib,usr/lib64,usr/local/bin,etc/ssl/certs}
    ln -s usr/bin "$1/bin"
    ln -s usr/lib "$1/lib"
    ln -s usr/lib64 "$1/lib64"
    install -d -m 1777 "$1/tmp"
    echo 'nonroot:x:65532:65532:nonroot:/tmp:/sbin/nologin' > "$1/etc/passwd"
    echo 'nonroot:x:65532:' > "$1/etc/group"
    # The C library has both of these built in since 2.34.
    echo 'hosts: files dns' > "$1/etc/nsswitch.conf"
    cp -L /etc/ssl/certs/ca-certificates.crt "$1/etc/ssl/certs/"
}

# Copies the libraries and the loader that ldd names for these files, to the same places.
libraries() { # ROOT FILE...
    local root=$1 library
    shift
    { ldd "$@" 2>/dev/null || true; } | grep -oE '/[^ ]+\.so[^ ]*' | sed 's/:$//' | sort -u |
    while read -r library; do
        case $library in "$root"/*) continue ;; esac
        mkdir -p "$root$(dirname "$library")"
        cp -Lf "$library" "$root$library"
    done
}

binary() { # ROOT SOURCE DESTINATION
    install -D -m 755 "$2" "$1$3"
    libraries "$1" "$2"
}

# For each image: what decides its content, how its root is filled, what it runs.

inputs_pause() { cat "$here/pause/pause.c"; cc --version; }
fill_pause() { cc -Os -static -s -Wall -Wextra -Werror -o "$1/pause" "$here/pause/pause.c"; }
reference_pause=localhost/pause:1
entrypoint_pause='["/pause"]'

inputs_redis() { cat /usr/bin/redis-server /usr/bin/redis-cli; }
fill_redis() {
    skeleton "$1"
    binary "$1" "$(realpath /usr/bin/redis-server)" /usr/bin/redis-server
    binary "$1" "$(realpath /usr/bin/redis-cli)" /usr/bin/redis-cli
}
reference_redis=localhost/redis:dev
entrypoint_redis='["/usr/bin/redis-server"]'

inputs_operator() { cat "$target/ai-gateway-operator"; }
fill_operator() { skeleton "$1"; binary "$1" "$target/ai-gateway-operator" /usr/local/bin/ai-gateway-operator; }
reference_operator=localhost/ai-gateway-operator:dev
entrypoint_operator='["/usr/local/bin/ai-gateway-operator"]'

inputs_armor() { cat "$target/armor"; }
fill_armor() { skeleton "$1"; binary "$1" "$target/armor" /usr/local/bin/armor; }
reference_armor=localhost/armor:dev
entrypoint_armor='["/usr/local/bin/armor"]'

inputs_exporter() { cat "$target/exporter"; }
fill_exporter() { skeleton "$1"; binary "$1" "$target/exporter" /usr/local/bin/exporter; }
reference_exporter=localhost/exporter:dev
entrypoint_exporter='["/usr/local/bin/exporter"]'

inputs_example_mcp() { cat "$here"/example-mcp/*; /usr/bin/python3 --version; }
fill_example_mcp() {
    local root=$1 version
    version=$(/usr/bin/python3 -c 'import sys; print("python%d.%d" % sys.version_info[:2])')
    skeleton "$root"
    binary "$root" "$(realpath /usr/bin/python3)" "/usr/bin/$version"
    ln -s "$version" "$root/usr/bin/python3"
    tar -C /usr/lib --exclude=__pycache__ --exclude="$version"/{test,idlelib,tkinter,lib2to3,ensurepip,pydoc_data} \
        --exclude="$version/config-*" -cf - "$version" | tar -C "$root/usr/lib" -xf -
    mkdir -p "$root/app/lib"
    say "  fetching Python packages"
    /usr/bin/python3 -m pip install --quiet --no-cache-dir --no-compile --disable-pip-version-check --root-user-action=ignore \
        --target "$root/app/lib" -r "$here/example-mcp/requirements.txt" >&2
    cp "$here"/example-mcp/*.py "$root/app/"
    # The root is read-only at run time: compiled once here, at the paths they will have.
    /usr/bin/python3 -m compileall -q -s "$root" --invalidation-mode unchecked-hash \
        "$root/app" "$root/usr/lib/$version" >&2 || true
    find "$root/usr/lib/$version" "$root/app" -name '*.so' -print0 | xargs -0 bash -c "$(declare -f libraries)"'; libraries "$@"' _ "$root"
}
reference_example_mcp=localhost/example-mcp:dev
environment_example_mcp=PYTHONPATH=/app/lib
entrypoint_example_mcp='["/usr/bin/python3", "-uP", "/app/everything.py"]'

build() { # IMAGE
    local image=$1 id=${1//-/_} key archive work container
    local reference=reference_$id entrypoint=entrypoint_$id environment=environment_$id
    archive=$archives/$image.tar
    case $image in
        operator) [ -x "$target/ai-gateway-operator" ] || fail "no $target/ai-gateway-operator: build it with cargo first" ;;
        armor) [ -x "$target/armor" ] || fail "no $target/armor: build it with cargo first" ;;
        exporter) [ -x "$target/exporter" ] || fail "no $target/exporter: build it with cargo first" ;;
    esac
    key=$({ cat "$here/build.sh"; "inputs_$id"; } | sha256sum | cut -d' ' -f1)
    if [ "$(cat "$archive.key" 2>/dev/null)" != "$key" ] || [ ! -e "$archive" ]; then
        say "building image ${!reference}"
        SECONDS=0
        work=$(mktemp -d "$archives/.$image.XXXXXX")
        # Expanded now: the trap may run when the variable is gone.
        # shellcheck disable=SC2064
        trap "rm -rf '$work'" EXIT
        mkdir "$work/root"
        chmod 755 "$work/root"
        "fill_$id" "$work/root"
        # Storage of its own, so that nothing stays in the machine's.
        local buildah=(buildah --storage-driver vfs --root "$work/storage" --runroot "$work/run")
        container=$("${buildah[@]}" from scratch)
        "${buildah[@]}" copy --quiet "$container" "$work/root" / >/dev/null
        "${buildah[@]}" config --user 65532:65532 --entrypoint "${!entrypoint}" --cmd '' \
            --env PATH=/usr/local/bin:/usr/bin --env SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt \
            "$container"
        [ -z "${!environment:-}" ] || "${buildah[@]}" config --env "${!environment}" "$container"
        "${buildah[@]}" commit --quiet --timestamp 0 "$container" "oci-archive:$work/archive.tar:${!reference}" >/dev/null
        "${buildah[@]}" rm "$container" >/dev/null
        rm -f "$archive.key"
        mv "$work/archive.tar" "$archive"
        echo "$key" > "$archive.key"
        rm -rf "$work"
        say "built image ${!reference} in $SECONDS s, $(du -h "$archive" | cut -f1)"
    fi
    echo "$archive"
}

mkdir -p "$archives"
if [ "${1:-}" = --list ]; then
    find "$archives" -maxdepth 1 -name '*.tar' | sort
    exit
fi
[ $# -gt 0 ] || set -- "${all[@]}"
for image in "$@"; do
    case " ${all[*]} " in *" $image "*) ;; *) fail "no image $image; there are: ${all[*]}" ;; esac
done

exec 9> "$archives/.lock"
if ! flock -n 9; then
    say "waiting for another build of images"
    flock 9
fi
for image in "$@"; do
    # A subshell: each image has its own trap.
    (build "$image")
done
