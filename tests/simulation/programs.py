"""Programs at simulated nodes that call and answer, and a record of what came of every call."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field

from maculaos.wire.messages import RpcCall, RpcCancel, RpcError, RpcResult
from maculaos.wire.registry import Answering, RpcErrorCode
from maculaos.wire.values import decode_value, encode_value
from simulation.world import World

# How often programs look at what they were told, in seconds of virtual time.
STEP_S = 0.01


@dataclass
class Programs:
    """Client 1 of every node: what it heard is taken in order, calls are answered."""

    world: World
    # By node: how many of the messages it heard were taken.
    taken: dict[tuple[str, int], int] = field(default_factory=dict)
    # How often each value was run, and where.
    runs: Counter[object] = field(default_factory=Counter)
    runs_at: Counter[str] = field(default_factory=Counter)
    # By caller and number: the answers, the moment of the first, and when it was asked.
    answers: dict[tuple[str, int], list[RpcResult | RpcError]] = field(default_factory=dict)
    answered_at: dict[tuple[str, int], float] = field(default_factory=dict)
    asked_at: dict[tuple[str, int], float] = field(default_factory=dict)
    cancelled: list[tuple[str, int]] = field(default_factory=list)
    # Results in a stream, and how long a call of "slow" takes, in seconds.
    parts: int = 20
    slow_s: float = 1.0
    later: deque[tuple[float, str, RpcCall]] = field(default_factory=deque)
    numbers: int = 0

    def call(
        self,
        name: str,
        method: str,
        deadline_ms: int = 5000,
        choice: int = 0,
        answering: int = Answering.ONE,
    ) -> int:
        """A program calls, with its number as the value."""
        self.numbers += 1
        number = self.numbers
        self.asked_at[name, number] = self.world.now
        value = encode_value(number)
        self.world.say(
            name, RpcCall(number, method, deadline_ms, b"", value, choice, answering, 1000)
        )
        return number

    def run_for(self, seconds: float) -> None:
        """Let time pass, and programs do what they do."""
        until = self.world.now + seconds
        while self.world.now < until:
            self.world.run_for(STEP_S)
            self.work()

    def work(self) -> None:
        """Every program takes what it was told, and answers what it is through with."""
        self._answer_later()
        for name, host in self.world.hosts.items():
            if not host.is_running or 1 not in host.heard:
                continue
            taken = self.taken.get((name, host.life), 0)
            new = host.heard[1][taken:]
            self.taken[name, host.life] = taken + len(new)
            for message in new:
                if isinstance(message, RpcCall):
                    self._answer(name, message)
                elif isinstance(message, RpcCancel):
                    self.cancelled.append((name, message.call))
                elif isinstance(message, RpcResult | RpcError):
                    key = name, message.call
                    self.answers.setdefault(key, []).append(message)
                    self.answered_at.setdefault(key, self.world.now)

    def _answer_later(self) -> None:
        while self.later and self.later[0][0] <= self.world.now:
            _, name, call = self.later.popleft()
            if self.world.hosts[name].is_running:
                self.world.say(name, RpcResult(call.call, call.payload))

    def _answer(self, name: str, call: RpcCall) -> None:
        self.runs[decode_value(call.payload)] += 1
        self.runs_at[name] += 1
        if call.method == "slow":
            self.later.append((self.world.now + self.slow_s, name, call))
            return
        if call.method == "sleepy" or call.answering == Answering.NONE:
            return
        if call.answering == Answering.STREAM:
            for number in range(self.parts):
                self.world.say(name, RpcResult(call.call, encode_value(number), more=True))
        if call.method == "breaks":
            self.world.say(name, RpcError(call.call, RpcErrorCode.HANDLER_FAILED, "broken"))
        else:
            self.world.say(name, RpcResult(call.call, call.payload))

    def check_ends(self, slack_s: float = 0.1) -> None:
        """Every call ended once, by its deadline of 5 s, and was run once at most."""
        replay = self.world.replay
        for key, asked_at in self.asked_at.items():
            assert len(self.answers.get(key, [])) == 1, (key, self.answers.get(key), replay)
            assert self.answered_at[key] - asked_at <= 5.0 + slack_s, (key, replay)
        assert max(self.runs.values(), default=0) <= 1, (self.runs.most_common(3), replay)
