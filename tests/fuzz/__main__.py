"""``python -m fuzz --frames N --seed S``: throw hostile frames at the decoders, and count.

It ends with the traceback of the first frame that does harm, after the seed and the number of
that frame; the same seed does the same harm again. With ``--coverage`` atheris, if it is
installed, looks for bytes that reach new code instead.
"""

from __future__ import annotations

import argparse
import importlib
import random
import resource
import sys
import time
from typing import Any

from fuzz.mutation import HONEST, Attacker
from fuzz.victim import Victim
from maculaos.wire.messages import encode_message


def main() -> None:
    """Read the command line and attack."""
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument("--frames", type=int, default=1_000_000, help="how many (default 10^6)")
    parser.add_argument("--seed", type=int, default=None, help="the same seed, the same frames")
    parser.add_argument("--coverage", action="store_true", help="let atheris guide the bytes")
    arguments = parser.parse_args()
    if arguments.coverage:
        guided(arguments.frames)
        return
    seed = random.SystemRandom().randrange(2**32) if arguments.seed is None else arguments.seed
    print(f"seed {seed}", flush=True)  # noqa: T201  # a program's own words
    attack(seed, arguments.frames)


def attack(seed: int, frames: int) -> Victim:
    """Throw that many frames; raises what a decoder raised, after saying at which frame."""
    attacker, victim = Attacker(seed), Victim()
    began = time.perf_counter()
    for number in range(frames):
        frame = attacker.frame()
        # Some come in pieces, as they do from a network.
        cut = len(frame) // 2 if attacker.coin(0.1) else 0
        try:
            victim.hear(frame[:cut])
            victim.hear(frame[cut:])
            # Else a false length would swallow what follows unread.
            if victim.is_waiting and attacker.coin(0.9):
                victim.hang_up()
        except BaseException:
            print(f"frame {number} of seed {seed}: {frame[:200].hex()}", file=sys.stderr)  # noqa: T201  # the way back to it
            raise
    seconds = time.perf_counter() - began
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    rate = frames / max(seconds, 1e-9)
    print(f"{frames} frames survived in {seconds:.1f} s, {rate:.0f}/s, peak {peak_mib:.0f} MiB")  # noqa: T201  # the result
    for outcome, count in victim.outcomes.most_common():
        print(f"  {count:>9}  {outcome}")  # noqa: T201  # the result
    return victim


def guided(frames: int) -> None:
    """Let atheris (a coverage-guided fuzzer, not one of our dependencies) choose the bytes."""
    atheris: Any = importlib.import_module("atheris")
    atheris.instrument_all()
    victim = Victim()
    corpus = b"".join(map(encode_message, HONEST))

    def once(octets: bytes) -> None:
        victim.hear(octets)

    once(corpus)
    atheris.Setup([sys.argv[0], f"-runs={frames}", "-max_len=4096", "-rss_limit_mb=2048"], once)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
