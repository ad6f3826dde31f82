"""What every test may rely on: the same surroundings on every machine.

Nothing of the user's shell or Git settings reaches a test, and no property test fails because
the machine was busy: time limits belong to pytest-timeout, which kills what hangs.
"""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    import pytest

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


def pytest_configure(config: pytest.Config) -> None:
    """Clear the surroundings before any test module is imported."""
    for name in [name for name in os.environ if name.startswith(_FOREIGN)]:
        del os.environ[name]
    os.environ.update(_SURROUNDINGS)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # So a shell starts what runs in its background; programs under test would inherit it.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    settings.register_profile("house", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("house")
