"""The fleet: which instances of the apps there are, and which version of its app each is to run.

Words only. Without a rollout under way every instance runs what is wanted; what a rollout says
instead is worked out in ``reconciler.passage``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from reconciler.rollouts.instances import Colour, Instance, instance_jail
from reconciler.specs.spec import AppSpec

if TYPE_CHECKING:
    from reconciler.specs.desired import Desired


@dataclass(frozen=True, slots=True)
class Member:
    """One instance of an app, and the app as that instance is to run it."""

    instance: Instance
    app: AppSpec

    @property
    def jail(self) -> str:
        """The name of its jail."""
        return instance_jail(self.app.name, self.instance)

    def environment(self) -> dict[str, str]:
        """The variables by which a program knows which instance it is."""
        return {
            "MACULA_COLOUR": str(self.instance.colour),
            "MACULA_INDEX": str(self.instance.index),
            "MACULA_INSTANCE": f"{self.instance.colour}-{self.instance.index}",
        }


# By jail.
Fleet: TypeAlias = Mapping[str, Member]


def fleet_of(desired: Desired) -> Fleet:
    """Every app as often as it is wanted, in blue, at the version that is wanted."""
    members = (
        Member(Instance(Colour.BLUE, index), app)
        for app in desired.apps.values()
        for index in range(1, app.instances + 1)
    )
    return {member.jail: member for member in members}
