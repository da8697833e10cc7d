#!/bin/sh
# Resolves the constraints files anew: every version and hash, and no address of a package index.
#   constraints.sh UV [--upgrade]
# Versions already in a file stay unless they no longer fit; --upgrade takes the newest of all.
set -eu

uv=$1
shift
export UV_CUSTOM_COMPILE_COMMAND='make constraints'

# uv doesn't read pip's settings, so the machine's index and certificates are handed over.
index=${PIP_INDEX_URL:-$(python3 -m pip config get global.index-url 2>/dev/null || true)}
[ -z "$index" ] || export UV_DEFAULT_INDEX="$index"
[ -z "${PIP_CERT:-}" ] || export SSL_CERT_FILE="$PIP_CERT"

resolve() {
    output=$1
    shift
    printf 'resolving %s\n' "$output"
    "$uv" pip compile --quiet --universal --python-version 3.11 --generate-hashes \
        --output-file "$output" "$@" >/dev/null
}

resolve constraints-build.txt "$@" deploy/tools/build.in
resolve constraints.txt "$@" pyproject.toml -c constraints-build.txt
resolve constraints-dev.txt "$@" pyproject.toml --group dev -c constraints.txt -c constraints-build.txt
resolve constraints-local-model.txt "$@" pyproject.toml --extra local-model -c constraints.txt -c constraints-build.txt
resolve constraints-tools.txt "$@" deploy/tools/tools.in --excludes deploy/tools/tools-excludes.in
resolve constraints-mocks.txt "$@" tests/ops/mocks.in
for sdk in tests/sdks/*.in; do
    resolve "constraints-sdk-$(basename "$sdk" .in).txt" "$@" "$sdk"
done
