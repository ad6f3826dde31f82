"""The entry of ``python -m imagebuilder``; see ``cli``."""

from __future__ import annotations

import sys

from imagebuilder.cli import main

if __name__ == "__main__":
    sys.exit(main())
