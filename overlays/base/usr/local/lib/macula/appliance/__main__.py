"""``python -m appliance``: the command ``maculaos-update``."""

from __future__ import annotations

from appliance.cli import main

main()
