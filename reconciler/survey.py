"""The survey: what this machine and its nodes say of themselves right now.

The runtime is asked for its jails, each node for its health over its control socket: many at
once, each with a deadline. Nothing is decided or changed here; a node that does not answer is a
fact like any other.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from jails.spec import JailState
from maculaos.client import connect
from maculaos.errors import MaculaError
from maculaos.host.threads import in_thread
from reconciler.names import kind_and_name
from reconciler.observed import NodeHealth
from reconciler.sources.unreachable import one_line

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from jails.runtime import Runtime
    from jails.spec import JailFacts

QUESTIONS_AT_ONCE: Final = 16
LONGEST_WORDS: Final = 200


async def look(runtime: Runtime) -> Mapping[str, JailFacts]:
    """Facts of every jail of ours, by name; raises what the runtime raises."""
    return await in_thread(runtime.look)


async def last_words(runtime: Runtime, found: Mapping[str, JailFacts]) -> dict[str, str]:
    """By jail, the last line that each node wrote that does not run: most often it says why.

    What apps write is theirs: it may be secret, and the status is for everybody to read.
    """
    silent = [
        jail
        for jail, facts in found.items()
        if kind_and_name(jail)[0] == "node" and facts.state is not JailState.RUNNING
    ]
    written = {jail: await in_thread(runtime.logs, jail, 1) for jail in silent}
    return {jail: one_line(lines[-1], LONGEST_WORDS) for jail, lines in written.items() if lines}


async def ask_nodes(sockets: Mapping[str, Path], timeout_s: float) -> dict[str, NodeHealth]:
    """Ask every node at its socket, by node name; each may take ``timeout_s`` seconds."""
    at_once = asyncio.Semaphore(QUESTIONS_AT_ONCE)

    async def one(path: Path) -> NodeHealth:
        async with at_once:
            return await ask_node(path, timeout_s)

    answers = await asyncio.gather(*(one(path) for path in sockets.values()))
    return dict(zip(sockets, answers, strict=True))


async def ask_node(socket: Path, timeout_s: float) -> NodeHealth:
    """Ask one node for its members; never raises but when cancelled."""
    try:
        async with (
            asyncio.timeout(timeout_s),
            connect(socket, name="reconciler", reconnect=False) as mesh,
        ):
            return _health(await mesh.members())
    except TimeoutError:
        return NodeHealth(answers=False, reason=f"does not answer within {timeout_s:g} s")
    except (MaculaError, OSError) as error:
        return NodeHealth(answers=False, reason=str(error))


def _health(members: list[dict[str, Any]]) -> NodeHealth:
    # Members that left stay in the list for a while; nobody waits for them.
    known = [member for member in members if member.get("health") != "left"]
    return NodeHealth(
        answers=True,
        members_alive=sum(1 for member in known if member.get("health") == "alive"),
        members_known=len(known),
        links=sum(1 for member in known if member.get("linked") is True),
    )
