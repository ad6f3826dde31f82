#!/bin/sh
# Make .venv anew and put into it exactly what requirements/dev.lock names, hashes checked.
# pip's own words are kept in a log and shown only when it fails; people see a line per stage.
set -eu

python=$(sh requirements/find-python.sh)
echo "python    $python ($("$python" -c 'import platform; print(platform.python_version())'))"

"$python" -m venv --clear .venv
echo "venv      .venv made"

log=.venv/install.log
wanted=$(grep -c '^[A-Za-z0-9].*==' requirements/dev.lock)
# On a terminal the line counts up; in a log it would only be noise.
live=0
if [ -t 1 ]; then live=1; fi

{ .venv/bin/python -m pip --disable-pip-version-check install --no-input --progress-bar off \
    --require-hashes -r requirements/dev.lock 2>&1 || echo "pip failed"; } |
    tee "$log" |
    awk -v wanted="$wanted" -v live="$live" '
        live && /^Collecting/ { printf "\rpackages  %d of at most %d fetched", ++n, wanted; fflush() }
        live && /^Installing collected/ { printf "\rpackages  being unpacked %24s", ""; fflush() }
        END { if (live) printf "\r%50s\r", "" }'

if grep -q '^pip failed$' "$log"; then
    tail -n 30 "$log" >&2
    echo "packages could not be installed; the whole log is in $log" >&2
    exit 1
fi
echo "packages  installed exactly as requirements/dev.lock names them"
