"""Whether lookups find the node that is truly closest: among the dead, and while nodes change."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from maculaos.kademlia.settings import KademliaSettings
from maculaos.wire.messages import RpcCall, RpcResult
from maculaos.wire.values import decode_value, encode_value
from simulation.hosts import Host
from simulation.lookups import Network, fill_by_shortcut, kill_share, look_up_randomly, score
from simulation.stage import Stage, is_connected
from simulation.world import World

if TYPE_CHECKING:
    from simulation.result import Result

# Share of nodes that die, and that come, in a minute.
_CHURN: Final = 0.1
# A node takes part that long after its start: before, it may still join.
_SETTLED_S: Final = 30.0
_LOOKUP_EVERY_S: Final = 1.0
_CLIENT: Final = 1


def table(stage: Stage) -> tuple[Result, ...]:
    """A fifth of all contacts is dead; the truth is found by brute force."""
    scale = stage.scale
    size = scale.table_nodes
    stage.tell(f"{stage.scenario}: {size} tables are filled")
    network = Network(stage.seed, KademliaSettings())
    fill_by_shortcut(network, size)
    kill_share(network, 0.2)
    stage.tell(f"{stage.scenario}: {scale.lookups} lookups")
    look_up_randomly(network, scale.lookups)
    scored = score(network)
    found = stage.result(
        "lookups that find the closest, a fifth dead",
        size,
        100 * scored.share,
        "%",
        at_least=99.9,
        detail=f"{scored.right} of {scored.lookups}, {scored.asked:.0f} requests each",
        virtual_s=network.now,
    )
    hops = stage.result(
        "hops of a lookup, median",
        size,
        scored.hops,
        "hops",
        at_most=math.log2(size) / 2,
        virtual_s=network.now,
    )
    return found, hops


@dataclass
class _Wanted:
    """One lookup by ``seeker``, and when it began."""

    seeker: Host
    target: bytes
    began: float


@dataclass
class _Turnover:
    """Nodes die and others come; ``born`` and ``died`` say when, by node id."""

    world: World
    born: dict[bytes, float] = field(default_factory=dict)
    died: dict[bytes, float] = field(default_factory=dict)
    wanted: dict[tuple[str, int], _Wanted] = field(default_factory=dict)
    right: int = 0
    wrong: int = 0
    # Whose seeker died meanwhile.
    given_up: int = 0
    cuts: int = 0

    def replace_one(self, number: int) -> None:
        """A node dies, and another one comes that knows three of those that live."""
        world = self.world
        victim = world.rng.choice(world.running)
        world.kill(victim.name)
        self.died[victim.identity.node_id] = world.now
        known = world.rng.sample(world.running, 3)
        host = world.start(f"new{number}", peers=tuple(each.address for each in known))
        self.born[host.identity.node_id] = world.now

    def look_up(self, number: int) -> None:
        """A node that settled looks for what is closest to a random place."""
        world = self.world
        seeker = world.rng.choice([host for host in world.running if self._is_settled(host)])
        target = world.rng.randbytes(32)
        if _CLIENT not in seeker.heard:
            world.connect_client(seeker.name, _CLIENT)
        call = RpcCall(number, "macula.find", 30_000, b"", encode_value({"node": target.hex()}))
        self.wanted[seeker.name, number] = _Wanted(seeker, target, world.now)
        world.say(seeker.name, call, _CLIENT)

    def read_answers(self) -> None:
        """Judge what was found since the last time."""
        for key, wanted in list(self.wanted.items()):
            heard = wanted.seeker.heard[_CLIENT]
            results = (each for each in heard if isinstance(each, RpcResult))
            answer = next((each for each in results if each.call == key[1]), None)
            if answer is not None:
                heard.remove(answer)
                self._judge(wanted, answer)
            elif wanted.seeker.is_running:
                continue
            else:
                self.given_up += 1
            del self.wanted[key]

    def check_graph(self) -> None:
        """Whether links still join all who ever had one."""
        linked = [host for host in self.world.running if host.last_link]
        self.cuts += not is_connected(linked)

    def _is_settled(self, host: Host) -> bool:
        return self.born.get(host.identity.node_id, -math.inf) <= self.world.now - _SETTLED_S

    def _judge(self, wanted: _Wanted, answer: RpcResult) -> None:
        found = _first_node(answer)
        is_right = found is not None and self._is_closest(wanted, found)
        self.right += is_right
        self.wrong += not is_right

    def _is_closest(self, wanted: _Wanted, found: bytes) -> bool:
        """Nobody is closer who settled before and lived all through it; and it lived when asked."""
        if self.died.get(found, math.inf) < wanted.began:
            return False
        place = int.from_bytes(wanted.target)
        steady = (
            host.identity.node_id
            for host in self.world.running
            if host is not wanted.seeker
            and self.born.get(host.identity.node_id, -math.inf) <= wanted.began - _SETTLED_S
        )
        return place ^ int.from_bytes(found) <= min(place ^ int.from_bytes(each) for each in steady)


def churn(stage: Stage) -> tuple[Result, ...]:
    """A tenth of all nodes dies each minute without a word, and as many come."""
    scale = stage.scale
    world = stage.mesh(scale.nodes)
    stage.run(world, 20.0, "settling")
    turnover = _Turnover(world)
    step_s = 60.0 / (scale.nodes * _CHURN)
    end, next_death, number = world.now + scale.churn_s, world.now, 0
    while world.now < end:
        while next_death <= world.now:
            turnover.replace_one(number)
            number, next_death = number + 1, next_death + step_s
        for turn in range(max(1, scale.lookups // int(scale.churn_s))):
            turnover.look_up(int(world.now * 1000) * 100 + turn)
        stage.run(world, _LOOKUP_EVERY_S, f"{number} came and went, {end - world.now:.0f} s left")
        turnover.read_answers()
        turnover.check_graph()
    stage.run(world, 30.0, "the last lookups")
    turnover.read_answers()
    total = turnover.right + turnover.wrong + len(turnover.wanted)
    detail = f"{turnover.right} of {total}, {number} nodes died, {turnover.given_up} seekers too"
    found = stage.result(
        "lookups that find the closest",
        scale.nodes,
        100 * turnover.right / max(1, total),
        "%",
        at_least=99.0,
        detail=detail,
    )
    what = f"seconds of {scale.churn_s:.0f} with the graph in parts"
    return found, stage.result(what, scale.nodes, turnover.cuts, "s", at_most=0)


def _first_node(answer: RpcResult) -> bytes | None:
    """The node that an answer to ``macula.find`` names first."""
    found = decode_value(answer.payload)
    assert isinstance(found, dict)
    nodes = found["nodes"]
    if not isinstance(nodes, list) or not nodes:
        return None
    assert isinstance(nodes[0], dict)
    return bytes.fromhex(str(nodes[0]["node_id"]))
