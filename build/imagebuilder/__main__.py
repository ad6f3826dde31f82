"""The entry of ``python -m imagebuilder``: it builds nothing in this version, and says so."""

from __future__ import annotations

import sys

NOT_IMPLEMENTED = 2


def main() -> int:
    """Say in one line what can be built; the exit status is 2 as long as that is nothing."""
    sys.stderr.write("imagebuilder: no image can be built in this version; see image/README.md\n")
    return NOT_IMPLEMENTED


if __name__ == "__main__":
    sys.exit(main())
