"""What there is to do until a machine is what its seed says: facts in, steps out. Pure.

It is asked at every start, since /etc lies in memory. What must last (keys, the seed itself) is
written to ``cfg`` before anything is made of it, each file whole or not at all; so a cut anywhere
only means that the next start does the rest. A machine that has done everything is given no step.

A seed on the machine counts more than one on a stick: who plugs something in later changes nothing.
A seed that was broken by an edit does not lock people out: the last one that was read holds on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from appliance import configuration, identity
from appliance.identity import Damaged
from appliance.seed import InvalidSeed, Seed, parse_seed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from appliance.identity import Draw


CFG: Final = "/cfg"
SEED: Final = "/cfg/seed.toml"
# The last seed that could be read; among what a factory reset deletes first.
ACCEPTED: Final = "/cfg/identity/seed.toml"
JOIN_TOKEN: Final = "/cfg/credentials/join-token"  # noqa: S105  a path
HOST_UUID: Final = "kern.hostuuid"
HOST_ID: Final = "kern.hostid"
# Facts name these contents; those of /etc follow from the seed.
KEPT: Final = (SEED, ACCEPTED, *(part.path for part in identity.PARTS))
_SECRET: Final = 0o600


@dataclass(frozen=True, slots=True)
class Put:
    """Write a whole file; ``service`` reads it."""

    path: str
    content: bytes = field(repr=False)
    mode: int
    service: str = ""

    def describe(self) -> str:
        """One line for people."""
        return f"write {self.path}"


@dataclass(frozen=True, slots=True)
class Remove:
    """Delete a file that must not be there; ``service`` reads it."""

    path: str
    service: str = ""

    def describe(self) -> str:
        """One line for people."""
        return f"delete {self.path}"


@dataclass(frozen=True, slots=True)
class SetAside:
    """Rename a damaged file, for whoever wants to look at it."""

    path: str

    def describe(self) -> str:
        """One line for people."""
        return f"set {self.path} aside as {self.path}.damaged"


@dataclass(frozen=True, slots=True)
class SetTunable:
    """Set a value of the kernel."""

    name: str
    value: str

    def describe(self) -> str:
        """One line for people."""
        return f"set {self.name} to {self.value}"


Step = Put | Remove | SetAside | SetTunable


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A seed that lies somewhere else; ``where`` is for people."""

    where: str
    content: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """The machine as it is; a path without content is not there."""

    contents: Mapping[str, bytes]
    interfaces: tuple[str, ...]
    # kern.hostuuid, and kern.hostid as a number.
    uuid: str
    host_id: int
    # Whether the partition is mounted; without it nothing can be kept.
    has_cfg: bool = True
    found: Found | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Steps in order, what people should know, and the seed that holds."""

    steps: tuple[Step, ...]
    problems: tuple[str, ...] = ()
    seed: Seed | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Choice:
    """The seed that holds, and its bytes where they were not written down yet."""

    seed: Seed | None = None
    content: bytes = b""
    is_found: bool = False
    problems: tuple[str, ...] = ()


def plan(facts: Facts, draw: Draw) -> Plan:
    """What is still to be done; ``draw`` gives bytes for keys that are not there yet."""
    choice = choose(facts)
    kept = tuple(_keep(facts, choice, draw)) if facts.has_cfg else ()
    uuid = _uuid(facts, kept) if facts.has_cfg else facts.uuid
    steps: list[Step] = [*kept, *_host_ids(facts, uuid)]
    steps += _files(facts, choice.seed, identity.default_name(uuid))
    if facts.has_cfg and choice.seed is not None:
        steps += _accept(facts, choice, choice.seed)
    damaged = [
        f"{step.path} was damaged; a new one was made"
        for step in kept
        if isinstance(step, SetAside)
    ]
    problems = (*choice.problems, *damaged, *_remarks(facts, choice.seed))
    return Plan(steps=tuple(steps), problems=problems, seed=choice.seed)


def choose(facts: Facts) -> _Choice:
    """The seed that holds: the machine's own, else its last good one, else one that was found."""
    own = facts.contents.get(SEED)
    if own is None:
        return _found(facts.found) if facts.found else _Choice()
    try:
        return _Choice(seed=parse_seed(own), content=own)
    except InvalidSeed as error:
        problems = tuple(f"{SEED}: {each}" for each in error.problems)
    accepted = facts.contents.get(ACCEPTED)
    if accepted is None:
        return _Choice(problems=problems)
    try:
        held = parse_seed(accepted)
    except InvalidSeed:
        return _Choice(problems=problems)
    return _Choice(
        seed=held, content=accepted, problems=(*problems, f"{SEED}: the one before it holds on")
    )


def paths(facts: Facts) -> tuple[str, ...]:
    """The files of /etc whose contents belong to the facts, too."""
    files = configuration.files(choose(facts).seed, "", facts.interfaces)
    return tuple(file.path for file in files)


def _found(found: Found) -> _Choice:
    try:
        seed = parse_seed(found.content)
    except InvalidSeed as error:
        return _Choice(problems=tuple(f"{found.where}: {each}" for each in error.problems))
    return _Choice(seed=seed, content=found.content, is_found=True)


def _keep(facts: Facts, choice: _Choice, draw: Draw) -> Iterator[Step]:
    """What has to last: a seed that was found, and every part of the identity."""
    if choice.is_found:
        yield Put(SEED, choice.content, _SECRET)
    for part in identity.PARTS:
        content = facts.contents.get(part.path)
        if content is not None:
            try:
                part.check(content)
            except Damaged:
                yield SetAside(part.path)
            else:
                continue
        yield Put(part.path, part.make(draw), _SECRET)


def _uuid(facts: Facts, kept: tuple[Step, ...]) -> str:
    """The host id that is about to be written, or that is there."""
    for step in kept:
        if isinstance(step, Put) and step.path == identity.HOST_UUID:
            return identity.read_uuid(step.content)
    return identity.read_uuid(facts.contents[identity.HOST_UUID])


def _host_ids(facts: Facts, uuid: str) -> Iterator[Step]:
    if facts.uuid != uuid:
        yield SetTunable(HOST_UUID, uuid)
    number = identity.host_id(uuid)
    if facts.host_id != number:
        yield SetTunable(HOST_ID, str(number))


def _files(facts: Facts, seed: Seed | None, name: str) -> Iterator[Step]:
    for file in configuration.files(seed, name, facts.interfaces):
        present = facts.contents.get(file.path)
        if file.content is None:
            if present is not None:
                yield Remove(file.path, file.service)
        elif present != file.content:
            yield Put(file.path, file.content, file.mode, file.service)


def _accept(facts: Facts, choice: _Choice, seed: Seed) -> Iterator[Step]:
    """Write the seed down as good. The token of a new one goes before, so that no cut loses it.

    Whoever uses the token may delete it: it is not written again until the seed changes.
    """
    if facts.contents.get(ACCEPTED) == choice.content:
        return
    if seed.realm is not None:
        yield Put(JOIN_TOKEN, f"{seed.realm.join_token}\n".encode(), _SECRET)
    yield Put(ACCEPTED, choice.content, _SECRET)


def _remarks(facts: Facts, seed: Seed | None) -> Iterator[str]:
    """What is missing, and what was asked for and cannot be."""
    if not facts.has_cfg:
        yield "/cfg is not mounted: this machine has no settings and no keys"
    if not facts.interfaces:
        yield "this machine has no Ethernet interface that the system knows"
    if seed is None:
        return
    named = seed.network.interface
    if named is not None and named not in facts.interfaces:
        there = ", ".join(facts.interfaces) or "none"
        yield f"network.interface: there is no {named} here; there is: {there}"
