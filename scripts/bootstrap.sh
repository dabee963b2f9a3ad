#!/usr/bin/env bash
# What the Makefile needs from the machine.
#
#   scripts/bootstrap.sh ngspice      ngspice, the newest that apt-get offers, and its shared library
#   scripts/bootstrap.sh venv [DIR]   a virtual environment in DIR (.venv) with Python 3.11 or newer
#
# Installs only what is missing, asks nothing, and says in one line what it could not do.
set -euo pipefail

fail() {
    printf 'Error: %s\n' "$1" >&2
    exit 1
}

# apt_install WHY PACKAGE... : install the packages, as root or through sudo.
apt_install() {
    local why=$1
    shift
    local by_hand="install them by hand (apt-get install $*) and run make again"
    local -a as_root=()
    command -v apt-get >/dev/null \
        || fail "$why, and there is no apt-get here: install the equivalent of $* and run make again"
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null || fail "$why, and this is neither root nor is there sudo: $by_hand"
        as_root=(sudo)
        # Without a terminal nobody can type a password.
        [ -t 0 ] || as_root+=(-n)
        "${as_root[@]}" true || fail "$why, and sudo gave no permission: $by_hand"
    fi
    as_root+=(env DEBIAN_FRONTEND=noninteractive)
    printf 'installing %s\n' "$*" >&2
    # A single unreachable source must not stop an installation that the others allow.
    "${as_root[@]}" apt-get update -qq || printf 'apt-get update failed; trying without\n' >&2
    "${as_root[@]}" apt-get install -y -qq --no-install-recommends "$@" >/dev/null \
        || fail "$why, and apt-get could not install it (no network?): $by_hand"
}

has_library() {
    # ldconfig is in /sbin, which is not on every user's PATH. No `grep -q`: it would close the pipe
    # early, and pipefail would take that for a failure.
    PATH=$PATH:/sbin:/usr/sbin ldconfig -p 2>/dev/null | grep 'libngspice\.so' >/dev/null
}

# The number in `ngspice-46`; 0 where there is none.
ngspice_version() {
    local said
    said=$(ngspice --version 2>/dev/null | sed -n 's/.*ngspice-\([0-9]*\).*/\1/p' | sed -n 1p) || true
    printf '%s' "${said:-0}"
}

# The release's own sources with its backports instead, as one file; nothing where there are none.
backports_source() {
    local file=/etc/apt/sources.list.d/debian.sources release
    release=$(. /etc/os-release && printf '%s' "${VERSION_CODENAME:-}")
    { [ "$(. /etc/os-release && printf '%s' "${ID:-}")" = debian ] && [ -f "$file" ]; } || return 0
    # The first paragraph is that of the distribution itself.
    sed '/^$/,$d' "$file" | sed "s/^Suites:.*/Suites: $release-backports/"
}

# From version 42 on ngspice has the solver KLU, several times faster. Debian has such a one in its
# backports; where these can't be reached, what is installed or the distribution's own is taken.
install_newer_ngspice() {
    local source as_root=()
    # Looked for once: where there is none, there will hardly be one at the next call.
    local looked="${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/analogdfc/looked-for-ngspice"
    command -v apt-get >/dev/null || return 0
    source=$(backports_source)
    { [ -n "$source" ] && [ ! -e "$looked" ]; } || return 0
    mkdir -p "${looked%/*}" && : >"$looked"
    if [ "$(id -u)" -ne 0 ]; then
        { command -v sudo >/dev/null && sudo -n true 2>/dev/null; } || return 0
        as_root=(sudo -n)
    fi
    as_root+=(env DEBIAN_FRONTEND=noninteractive)
    local list=/etc/apt/sources.list.d/analogdfc-backports.sources
    printf 'installing a newer ngspice from the backports\n' >&2
    # Debian takes nothing from backports that isn't asked for by name.
    printf '%s\n' "$source" | "${as_root[@]}" tee "$list" >/dev/null || return 0
    "${as_root[@]}" apt-get update -qq || printf 'apt-get update failed; trying without\n' >&2
    "${as_root[@]}" apt-get install -y -qq --no-install-recommends \
        -t "$(sed -n 's/^Suites: //p' <<<"$source")" ngspice libngspice0 >/dev/null 2>&1 \
        || printf 'no newer ngspice there; what the distribution has is taken\n' >&2
    "${as_root[@]}" rm -f "$list"
}

install_ngspice() {
    local -a missing=()
    if [ -z "${ANALOGDFC_NGSPICE:-}" ] && [ "$(ngspice_version)" -lt 42 ]; then
        install_newer_ngspice
    fi
    command -v ngspice >/dev/null || missing+=(ngspice)
    has_library || [ -f "${NGSPICE_LIBRARY_PATH:-}" ] || missing+=(libngspice0)
    [ ${#missing[@]} -eq 0 ] || apt_install "ngspice is missing" "${missing[@]}"
}

is_recent() {
    command -v "$1" >/dev/null \
        && "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

# The first Python that is recent enough; PYTHON in the environment goes before all others.
find_python() {
    local candidate
    for candidate in ${PYTHON:+"$PYTHON"} python3 python3.14 python3.13 python3.12 python3.11; do
        if is_recent "$candidate"; then
            command -v "$candidate"
            return
        fi
    done
    return 1
}

make_venv() {
    local directory=$1 python
    command -v python3 >/dev/null || apt_install "Python is missing" python3 python3-venv
    python=$(find_python) || fail "Python 3.11 or newer is needed and $(python3 --version) was found: \
install a newer one and run make PYTHON=/path/to/python3 again"
    # Debian and Ubuntu leave this module to a package of its own.
    "$python" -c 'import ensurepip' 2>/dev/null \
        || apt_install "$python cannot make virtual environments" \
            "python$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')-venv"
    "$python" -m venv "$directory" || fail "$python -m venv $directory failed"
}

case "${1:-}" in
    ngspice) install_ngspice ;;
    venv) make_venv "${2:-.venv}" ;;
    *) fail "usage: scripts/bootstrap.sh ngspice | venv [DIR]" ;;
esac
