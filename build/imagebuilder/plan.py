"""The plan of a build: steps, what each was made from, and which one is due next.

Pure. A step has a key: the digest of all that decides about its outputs, which are the facts
stated here and the outputs of the steps that it needs. A step is due while there is no receipt
with its key. So a change reaches what depends on it, and stops at the first step whose outputs
come out the same.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from maculaos.errors import LocalProtocolError

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

# Part of every key: raise it when the same facts come to mean other outputs.
FORMAT: Final = "2"
STEPS_MAX: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step: what it makes, and from what."""

    # Also the name of the folder that holds its outputs.
    name: str
    # For people: what is being done.
    title: str
    # Steps whose outputs it reads; all of them come before it.
    needs: tuple[str, ...] = ()
    # Whatever else decides about its outputs, by name: digests, sizes, versions.
    facts: Mapping[str, str] = field(default_factory=dict)

    def describe(self) -> str:
        """The step in one line."""
        source = f" (from {', '.join(self.needs)})" if self.needs else ""
        return f"{self.name}: {self.title}{source}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """A step that was done: from what, and the SHA-256 of each file that it made."""

    key: str
    outputs: Mapping[str, str]


def check_steps(steps: Sequence[Step]) -> None:
    """Raise ``LocalProtocolError`` unless names are single and needs come first."""
    if len(steps) > STEPS_MAX:
        raise LocalProtocolError(f"{len(steps)} steps, at most {STEPS_MAX}")
    seen: set[str] = set()
    for step in steps:
        if step.name in seen or not seen.issuperset(step.needs):
            raise LocalProtocolError(f"the step {step.name} is there twice, or before its needs")
        seen.add(step.name)


def key_of(step: Step, receipts: Mapping[str, Receipt]) -> str:
    """The key of ``step``; the receipts of what it needs must be there."""
    made_from = {need: dict(receipts[need].outputs) for need in step.needs}
    content = [FORMAT, step.name, dict(step.facts), made_from]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def is_done(step: Step, receipts: Mapping[str, Receipt]) -> bool:
    """Whether a receipt says that ``step`` was done from just what there is now."""
    ready = step.name in receipts and all(need in receipts for need in step.needs)
    return ready and receipts[step.name].key == key_of(step, receipts)


def next_step(
    steps: Sequence[Step], receipts: Mapping[str, Receipt], spoilt: Collection[str] = ()
) -> Step | None:
    """The first step that is due; None when all is done.

    ``spoilt`` names steps whose outputs are not what their receipts say any more.
    """
    for step in steps:
        if step.name in spoilt or not is_done(step, receipts):
            return step
    return None
