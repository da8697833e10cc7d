#!/bin/sh
# Makes or completes a virtual environment from hash-pinned constraints.
#   environment.sh FOLDER CONSTRAINTS... [-e]
# The files are installed in the order given, -e adds this package as editable. A folder that an
# interrupted call left unfinished is made anew. The machine's own pip settings stay in force.
set -eu

folder=$1
shift
python=${PYTHON:-python3}
log=$(mktemp)
trap 'rm -f "$log"' EXIT

fail() {
    printf 'set-up: %s\n' "$*" >&2
    exit 1
}

quietly() {
    "$@" >"$log" 2>&1 || {
        tail -n 30 "$log" >&2
        fail "failed: $*"
    }
}

check_python() {
    command -v "$python" >/dev/null ||
        fail "no program '$python'; install Python 3.11 or newer, or name one: make PYTHON=/path/to/python3"
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        fail "'$python' is $("$python" --version 2>&1); Python 3.11 or newer is needed: make PYTHON=/path/to/python3"
    "$python" -c 'import ensurepip, venv' 2>/dev/null ||
        fail "'$python' can't make virtual environments; on Debian: apt-get install python3-venv" \
            "(or python3.11-venv, by the version of '$python')"
}

make_venv() {
    [ ! -e "$folder" ] || [ -e "$folder/pyvenv.cfg" ] || [ -e "$folder/.unfinished" ] ||
        fail "'$folder' exists and is no virtual environment; move it away"
    printf 'set-up: %s: virtual environment\n' "$folder"
    rm -rf "$folder"
    mkdir -p "$folder"
    : >"$folder/.unfinished"
    quietly "$python" -m venv "$folder"
}

# Dependencies are all pinned, so none is looked up; modules are compiled when first imported.
install() {
    quietly "$folder/bin/python" -m pip install --quiet --no-input --disable-pip-version-check \
        --no-compile --no-deps --no-build-isolation "$@"
}

# Two calls for one folder would take each other's half-made one for an interrupted one.
mkdir -p .cache
if command -v flock >/dev/null; then
    exec 9>".cache/$(basename "$folder").lock"
    flock 9
fi

check_python
if [ -e "$folder/.unfinished" ] || ! "$folder/bin/python" -m pip --version >/dev/null 2>&1; then
    make_venv
fi
: >"$folder/.unfinished"
for argument; do
    if [ "$argument" = -e ]; then
        install --editable .
    else
        printf 'set-up: %s: %s\n' "$folder" "$argument"
        install --require-hashes --requirement "$argument"
    fi
done
rm "$folder/.unfinished"
