#!/bin/sh
# Install what the suite `messaging` measures beside us: brokers from Debian's packages, and their
# clients into var/peers, hashes checked. Whatever cannot be had is named, and left out of the bench.
set -u

missing=0

have() {
    command -v "$1" >/dev/null 2>&1 || [ -x "/usr/sbin/$1" ] || [ -x "/usr/local/sbin/$1" ]
}

broker() {
    if ! have "$1" && command -v apt-get >/dev/null 2>&1; then
        # RUNLEVEL keeps Debian from starting the service.
        RUNLEVEL=1 apt-get install -y -qq "$1" >var/peers-install.log 2>&1
    fi
    if have "$1"; then
        echo "$1   installed"
    else
        echo "$1   missing: install it with this system's packages (as root)" >&2
        missing=1
    fi
}

mkdir -p var
python=$(sh requirements/find-python.sh) || exit 1
if command -v apt-get >/dev/null 2>&1 && ! { have nats-server && have mosquitto; }; then
    apt-get update -qq >var/peers-install.log 2>&1
fi
broker nats-server
broker mosquitto

if "$python" -m venv --clear var/peers &&
    var/peers/bin/python -m pip --disable-pip-version-check install --quiet --no-input \
        --require-hashes -r benchmarks/peers/requirements.lock; then
    echo "clients   installed into var/peers, exactly as benchmarks/peers/requirements.lock names them"
else
    rm -rf var/peers
    echo "clients   missing: pip could not install benchmarks/peers/requirements.lock" >&2
    missing=1
fi
exit "$missing"
