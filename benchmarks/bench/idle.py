"""``python -m bench.idle COUNT``: the memory of idle links, in a process of its own.

Prints one number: KiB of resident memory for each link, both ends together.
"""

from __future__ import annotations

import asyncio
import gc
import resource
import sys
import tempfile
from pathlib import Path

from bench.pairs import linked_pair
from credentials import make_realm

_PAGE_KIB = resource.getpagesize() / 1024


async def measure(realm_path: Path, count: int) -> float:
    """Dial ``count`` times, after some dials that load what is loaded once."""
    async with linked_pair(make_realm(realm_path)) as (one, two):
        for _ in range(10):
            await one.endpoint.dial(two.address)
        before = _resident_kib()
        for _ in range(count):
            await one.endpoint.dial(two.address)
        return (_resident_kib() - before) / count


def _resident_kib() -> float:
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE_KIB


def main() -> None:
    """Measure, and print it."""
    with tempfile.TemporaryDirectory() as folder:
        sys.stdout.write(f"{asyncio.run(measure(Path(folder), int(sys.argv[1])))}\n")


if __name__ == "__main__":
    main()
