"""What there is to do about the slots, each as a value that says itself in words."""

from __future__ import annotations

from dataclasses import dataclass

from appliance.slots import Mark, Slot
from appliance.state import State
from maculaos.errors import UsageError


class Refusal(UsageError):
    """What was asked for must not be done now."""


@dataclass(frozen=True, slots=True)
class Recover:
    """Make the two copies of the partition table agree, so that marks can be changed."""

    def describe(self) -> str:
        """One line for people."""
        return "repair the partition table"


@dataclass(frozen=True, slots=True)
class SetMark:
    """Give a slot a mark."""

    slot: Slot
    mark: Mark

    def describe(self) -> str:
        """One line for people."""
        return f"set {self.mark} on slot {self.slot}"


@dataclass(frozen=True, slots=True)
class UnsetMark:
    """Take a mark from a slot."""

    slot: Slot
    mark: Mark

    def describe(self) -> str:
        """One line for people."""
        return f"unset {self.mark} on slot {self.slot}"


@dataclass(frozen=True, slots=True)
class Remember:
    """Write the new state down before anything else is done."""

    state: State

    def describe(self) -> str:
        """One line for people."""
        return f"remember: {self.state.describe()}"


@dataclass(frozen=True, slots=True)
class Write:
    """Fill the slot from a bundle, then check it; nothing can boot it meanwhile."""

    slot: Slot

    def describe(self) -> str:
        """One line for people."""
        return f"write slot {self.slot}"


@dataclass(frozen=True, slots=True)
class CheckHealth:
    """Wait for the running slot to prove itself, up to a deadline."""

    slot: Slot

    def describe(self) -> str:
        """One line for people."""
        return f"wait for slot {self.slot} to prove its health"


@dataclass(frozen=True, slots=True)
class Reboot:
    """Start the machine anew."""

    reason: str

    def describe(self) -> str:
        """One line for people."""
        return f"reboot: {self.reason}"


@dataclass(frozen=True, slots=True)
class Rest:
    """Everything is as it should be."""

    def describe(self) -> str:
        """One line for people."""
        return "nothing to do"


Step = Recover | SetMark | UnsetMark | Remember | Write | CheckHealth | Reboot | Rest
