"""What every test may rely on: the same surroundings on every machine.

Nothing of the user's shell or Git settings reaches a test, and no property test fails because
the machine was busy: time limits belong to pytest-timeout, which kills what hangs.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import pytest
from hypothesis import HealthCheck, settings

_FOREIGN = ("MACULA_", "RECONCILER_", "GIT_")
_SURROUNDINGS = {
    "GIT_AUTHOR_NAME": "Test",
    "GIT_AUTHOR_EMAIL": "test@example.invalid",
    "GIT_COMMITTER_NAME": "Test",
    "GIT_COMMITTER_EMAIL": "test@example.invalid",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_TERMINAL_PROMPT": "0",
    # Tables keep their columns, whatever the width of the terminal.
    "COLUMNS": "160",
    "NO_COLOR": "1",
}


# A jail with a way out switches this on for the whole machine (``jails.namespaces.network``).
_FORWARDING: Final = Path("/proc/sys/net/ipv4/ip_forward")
_forwarding = pytest.StashKey[str]()


def pytest_configure(config: pytest.Config) -> None:
    """Clear the surroundings before any test module is imported."""
    # Kept by the process that outlives all test processes, not by each of them.
    if not hasattr(config, "workerinput") and _FORWARDING.exists():
        config.stash[_forwarding] = _FORWARDING.read_text()
    for name in [name for name in os.environ if name.startswith(_FOREIGN)]:
        del os.environ[name]
    os.environ.update(_SURROUNDINGS)
    settings.register_profile("house", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("house")


def pytest_unconfigure(config: pytest.Config) -> None:
    """Leave the machine's network as it was."""
    before = config.stash.get(_forwarding, None)
    if before is not None and _FORWARDING.read_text() != before:
        _FORWARDING.write_text(before)
