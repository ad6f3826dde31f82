"""Digests of specs: they change when the program must be started anew, and only then."""

from __future__ import annotations

from dataclasses import replace

import pytest

from jails.spec import (
    Forward,
    Hooks,
    Isolation,
    JailFile,
    JailSpec,
    Limits,
    Network,
    NetworkKind,
    Root,
    RootKind,
    SharedFolder,
)

SPEC = JailSpec(
    name="n1",
    command=("/bin/node", "-c"),
    environment={"A": "b"},
    files=(JailFile(path="a", content=b"1"),),
)


def test_the_digest_of_a_plain_spec_never_changes() -> None:
    # A change of it would start every running program anew.
    assert SPEC.program_digest() == (
        "8d84c71fb5cdc222d7dc3ef00a6fbb77babab4554af52c59f4d5bb7af0f886e6"
    )
    assert replace(SPEC, isolation=Isolation()).program_digest() == SPEC.program_digest()


@pytest.mark.parametrize(
    "isolation",
    [
        Isolation(root=Root(kind=RootKind.THICK, base="/own")),
        Isolation(mounts=(SharedFolder(source="/a", target="/a"),)),
        Isolation(network=Network(kind=NetworkKind.VNET, bridge="bridge0")),
        Isolation(forwards=(Forward(interface="em0", protocol="udp", port=1),)),
        Isolation(user="macula"),
        Isolation(limits=Limits(open_files=10)),
        Isolation(hooks=Hooks(prepare=(("/bin/true",),))),
    ],
    ids=repr,
)
def test_every_part_of_isolation_is_part_of_what_runs(isolation: Isolation) -> None:
    changed = replace(SPEC, isolation=isolation)
    assert changed.program_digest() != SPEC.program_digest()
    assert changed.files_digest() == SPEC.files_digest()
