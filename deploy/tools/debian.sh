#!/bin/sh
# Installs the Debian packages named that aren't installed yet, without their recommendations.
#   debian.sh PACKAGE...
set -eu

missing=
for package; do
    dpkg-query --show --showformat='${Status}' "$package" 2>/dev/null | grep -q '^install ok installed$' ||
        missing="$missing $package"
done
[ -n "$missing" ] || exit 0

as_root=
if [ "$(id -u)" -ne 0 ]; then
    as_root='sudo -n'
    sudo -n true 2>/dev/null || {
        printf 'set-up: as root: apt-get install --no-install-recommends%s\n' "$missing" >&2
        exit 1
    }
fi
command -v apt-get >/dev/null || {
    printf 'set-up: needs Debian or Ubuntu for%s\n' "$missing" >&2
    exit 1
}

log=$(mktemp)
trap 'rm -f "$log"' EXIT
printf 'set-up: Debian packages%s\n' "$missing"
# shellcheck disable=SC2086 # both are lists of words
if ! { $as_root apt-get update && $as_root env DEBIAN_FRONTEND=noninteractive apt-get install \
    --yes --no-install-recommends -o DPkg::Lock::Timeout=120 $missing; } >"$log" 2>&1 </dev/null; then
    tail -n 30 "$log" >&2
    exit 1
fi
