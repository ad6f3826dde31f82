"""The parts of the model, each holding one noun, put together."""

from __future__ import annotations

from jails.freebsd.model.files import Files
from jails.freebsd.model.firewall import Firewall
from jails.freebsd.model.ifconfig import Network
from jails.freebsd.model.jails import Jails
from jails.freebsd.model.limits import Limits
from jails.freebsd.model.mounts import Mounts
from jails.freebsd.model.pool import Pool
from jails.freebsd.model.processes import Processes
from jails.freebsd.model.tunables import Tunables


class Machine:
    """What one machine holds; fresh from boot."""

    def __init__(self) -> None:
        self.files = Files()
        self.jails = Jails()
        self.processes = Processes()
        self.network = Network()
        self.firewall = Firewall()
        self.tunables = Tunables()
        self.mounts = Mounts(self.files, self._is_used)
        self.pool = Pool(self.mounts)
        self.limits = Limits(self._usage)
        # What rctl(8) says of a jail beside the count of its processes.
        self.usage: dict[str, dict[str, int]] = {}

    def _is_used(self, path: str) -> bool:
        """Whether a jail with processes has that mount."""
        return any(
            f"{path}/".startswith(f"{jail.path}/") and bool(self.processes.of(jail.name))
            for jail in self.jails.alive.values()
        )

    def _usage(self, jail: str) -> dict[str, int]:
        return {**self.usage.get(jail, {}), "maxproc": len(self.processes.of(jail))}
