#!/bin/sh
# Print the first Python that can carry MaculaOS: it runs, is 3.11 or newer and can make a venv.
# Each candidate is run, because a name on PATH may be a shim that only says what it is not.
set -eu

is_new_enough() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

can_make_a_venv() {
    "$1" -c 'import ensurepip, venv' >/dev/null 2>&1
}

incomplete=""
for candidate in ${PYTHON:-python3.13 python3.12 python3.11 python3 python3.14}; do
    is_new_enough "$candidate" || continue
    if can_make_a_venv "$candidate"; then
        command -v "$candidate"
        exit 0
    fi
    incomplete="$candidate"
done

if [ -n "$incomplete" ]; then
    version=$("$incomplete" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    echo "$incomplete cannot make a venv; on Debian and Ubuntu: apt install python$version-venv" >&2
else
    echo "no Python >= 3.11 among: ${PYTHON:-python3.11 to python3.14, python3};" \
        "install one, or name it: make PYTHON=/path/to/python3" >&2
fi
exit 1
