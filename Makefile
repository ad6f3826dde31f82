# What can be done here; `make` alone lists it. Works with GNU make and with BSD make.

PYTEST_ARGS ?= -n 2
RUNTIME ?= process
N ?= 25
SEED ?= 1
# One scenario; all of them, if none is named.
SCENARIO ?=
SIMULATE_ARGS ?=
LOCK_ARGS ?=
BENCH_ARGS ?=
# What an image is built from, where image/image.toml is set aside: docs/image.md.
RELEASE ?=
ARCH ?=
SETS ?=
BASE ?=
PKGS ?=
OUT ?=
KEY ?=
COMMIT ?=
EPOCH ?= 0
IMAGE_ARGS ?=
# A disk image, or the folder with one; and what the machine starts with, bios or uefi.
IMAGE ?= var/image
FIRMWARE ?= bios
BOOT_ARGS ?=
VM_ARGS ?=

PYTHONS = maculaos reconciler jails build overlays examples benchmarks tests
LOCK = UV_CUSTOM_COMPILE_COMMAND='make lock' .venv/bin/uv pip compile pyproject.toml --universal --python-version 3.11 \
	--generate-hashes --no-emit-index-url --quiet $(LOCK_ARGS)

.PHONY: help up up-check down test check format simulate bench bench-peers image installer boot test-vm lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' Makefile

up: .venv/installed ## set up and run a mesh of three nodes converged from Git (RUNTIME=process); Ctrl-C ends it
	@exec env PYTHONPATH=examples .venv/bin/python -m demo up --runtime $(RUNTIME)

up-check: .venv/installed ## the same with nobody watching: checks each promise and times it
	@exec env PYTHONPATH=examples .venv/bin/python -m demo check --runtime $(RUNTIME)

down: .venv/installed ## stop whatever `make up` left behind, after a crash too
	@exec env PYTHONPATH=examples .venv/bin/python -m demo down

test: .venv/installed ## run every test (PYTEST_ARGS="-n 2")
	@exec .venv/bin/python -m pytest $(PYTEST_ARGS)

check: .venv/installed ## run the gates only: lint, types, layers, map, packaging
	@exec .venv/bin/python -m pytest $(PYTEST_ARGS) tests/architecture

format: .venv/installed ## lay out the sources, mend what ruff can, renew the code map
	@.venv/bin/ruff format $(PYTHONS)
	@.venv/bin/ruff check --fix $(PYTHONS)
	@env PYTHONPATH=tests .venv/bin/python -m architecture.codemap

simulate: .venv/installed ## run N nodes in virtual time (N=25 SEED=1 SCENARIO=churn SIMULATE_ARGS=--quick)
	@exec env PYTHONPATH=tests .venv/bin/python -m simulation --nodes $(N) --seed $(SEED) \
		--scenario "$(SCENARIO)" $(SIMULATE_ARGS)

bench: .venv/installed ## measure, beside others where they are installed (BENCH_ARGS="messaging --runs 5")
	@exec env PYTHONPATH=benchmarks:tests .venv/bin/python -m bench $(BENCH_ARGS)

bench-peers: ## install what `make bench` measures beside us: nats-server, mosquitto, and clients in var/peers
	@sh benchmarks/peers/install.sh

image: .venv/installed ## build the appliance image (RELEASE= ARCH= SETS= BASE=pkgbase PKGS= OUT= KEY=; docs/image.md)
	@exec env PYTHONPATH=build .venv/bin/python -m imagebuilder build --release "$(RELEASE)" \
		--arch "$(ARCH)" --sets "$(SETS)" --base "$(BASE)" --pkgs "$(PKGS)" --out "$(OUT)" \
		--key "$(KEY)" --commit "$(COMMIT)" --epoch "$(EPOCH)" $(IMAGE_ARGS)

installer: .venv/installed ## build a stick that writes the system to a machine's disk (as image; docs/fleet.md)
	@exec env PYTHONPATH=build .venv/bin/python -m imagebuilder build --profile installer --release "$(RELEASE)" \
		--arch "$(ARCH)" --sets "$(SETS)" --base "$(BASE)" --pkgs "$(PKGS)" --out "$(OUT)" \
		--key "$(KEY)" --commit "$(COMMIT)" --epoch "$(EPOCH)" $(IMAGE_ARGS)

boot: $(IMAGE) .venv/installed ## boot the image in QEMU, its console here (FIRMWARE=uefi IMAGE=FILE BOOT_ARGS=--fresh)
	@exec env PYTHONPATH=build .venv/bin/python -m imagebuilder boot --firmware $(FIRMWARE) \
		$(BOOT_ARGS) $(IMAGE)

test-vm: .venv/installed ## boot the image with BIOS and UEFI, and test it over ssh (IMAGE=FILE)
	@exec .venv/bin/python -m pytest -n 0 --image $(IMAGE) tests/vm $(VM_ARGS)

$(IMAGE):
	@echo "no image at $@: run make image first, or name one with IMAGE=" >&2; exit 2


lock: .venv/installed ## renew requirements/*.lock from pyproject.toml (LOCK_ARGS=--upgrade)
	@$(LOCK) -o requirements/run.lock
	@$(LOCK) --group dev -o requirements/dev.lock
	@echo "the next target installs what changed" >&2

# The name of this checkout is looked for in the arguments of every process: a file would lie
# after a crash.
clean: ## remove .venv, caches, dist and var, but for var/keys (not while a demo runs)
	@running=$$(ps -A -ww -o pid= -o args= | VAR="$$(pwd -P)/var/" awk 'index($$0, ENVIRON["VAR"])'); \
	if [ -n "$$running" ]; then \
		echo "$$running" >&2; \
		echo "make clean: these still run in var/; stop them first: make down" >&2; exit 1; \
	fi
	@if [ -d var ]; then find var -mindepth 1 -maxdepth 1 ! -name keys -exec rm -rf {} +; fi
	@rmdir var 2>/dev/null || true
	@rm -rf .venv dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find . -name .git -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +

# Made anew when the lock changes, so that nothing unlocked stays behind.
.venv/locked: requirements/dev.lock requirements/install.sh requirements/find-python.sh
	@PYTHON="$(PYTHON)" sh requirements/install.sh
	@touch $@

.venv/installed: .venv/locked pyproject.toml
	@.venv/bin/python -m pip --disable-pip-version-check install --quiet --no-deps \
		--no-build-isolation -e .
	@echo "project   maculaos installed from this checkout"
	@touch $@
