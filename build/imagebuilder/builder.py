"""The builder: carries out the steps that are due, one after the other, a log for each.

It knows nothing of what the steps make. A build that is killed at any point goes on with the next
run: outputs count only when they lie in place with their receipt. One build at a time holds the
folder and the cache.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, TextIO

from imagebuilder.ledger import Ledger
from imagebuilder.plan import Receipt, Step, check_steps, key_of, next_step
from imagebuilder.screen import Screen
from maculaos.errors import LocalProtocolError
from maculaos.host.clock import Clock
from maculaos.host.commands import DEFAULT_TIMEOUT_S, CommandFailed, CommandRunner

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


# Of one step; commands and notes beyond are left out.
LOG_LINES_MAX: Final = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A step, and what does it."""

    step: Step
    action: Callable[[Site], None]
    # Whether outputs that lie in a step's folder are still of use: what they point at may be gone.
    is_whole: Callable[[Path], bool] = lambda folder: True  # noqa: ARG005  # a default for any folder


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Where one step works: what it may read, where its outputs go, whom it tells."""

    step: Step
    # Every file in it becomes an output.
    folder: Path
    runner: CommandRunner
    note: Callable[[str], None]
    progress: Callable[[int, int], None]
    ledger: Ledger

    def of(self, step: str) -> Path:
        """The outputs of a step that this one needs."""
        if step not in self.step.needs:
            raise LocalProtocolError(f"{self.step.name} reads {step} and does not say so")
        return self.ledger.folder_of(step)

    def digests_of(self, step: str) -> Mapping[str, str]:
        """SHA-256 of each output of a step that this one needs, by name."""
        self.of(step)
        return self.ledger.receipts([step])[step].outputs


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a build did: the steps that it carried out, and the outputs of all."""

    done: tuple[str, ...]
    receipts: Mapping[str, Receipt]


@dataclass(frozen=True, slots=True, kw_only=True)
class Builder:
    """Runs jobs in the folder of a ledger; logs lie in ``logs``, one for each step."""

    ledger: Ledger
    logs: Path
    runner: CommandRunner
    clock: Clock
    screen: Screen
    # Of which family the steps are that may go when they are in the plan no more.
    family: str = ""

    def run(self, jobs: Sequence[Job]) -> Outcome:
        """Carry out what is due; raises what a step raises, and keeps what was done before it."""
        steps = [job.step for job in jobs]
        check_steps(steps)
        by_name = {job.step.name: job for job in jobs}
        self.logs.mkdir(parents=True, exist_ok=True)
        self.ledger.sweep(by_name, self.family)
        receipts = self.ledger.receipts(by_name)
        spoilt = {
            name for name in receipts if not by_name[name].is_whole(self.ledger.folder_of(name))
        }
        done: list[str] = []
        while (step := next_step(steps, receipts, spoilt)) is not None:
            if step.name in done:
                raise LocalProtocolError(f"the step {step.name} is due again right after its end")
            receipts[step.name] = self._carry_out(by_name[step.name], key_of(step, receipts))
            spoilt.discard(step.name)
            done.append(step.name)
        return Outcome(done=tuple(done), receipts=receipts)

    def _carry_out(self, job: Job, key: str) -> Receipt:
        step, start = job.step, self.clock.monotonic()
        self.screen.begin(step)
        with self._log(step, key) as log:
            site = Site(
                step=step,
                folder=self.ledger.begin(step.name),
                runner=_LoggedRunner(self.runner, log, self.clock),
                note=log.note,
                progress=self.screen.advance,
                ledger=self.ledger,
            )
            job.action(site)
            receipt = self.ledger.finish(step.name, key)
            for name, digest in receipt.outputs.items():
                log.note(f"made {name} {digest}")
        self.screen.end(step, self.clock.monotonic() - start)
        return receipt

    @contextmanager
    def _log(self, step: Step, key: str) -> Iterator[_Log]:
        """The log of a step, with what it is made from on top; an error is its last line."""
        path = self.logs / f"{step.name}.log"
        with path.open("w", buffering=1) as file:
            log = _Log(file, self.clock)
            log.note(step.describe())
            log.note(f"key {key}")
            for name, value in step.facts.items():
                log.note(f"fact {name} = {value}")
            try:
                yield log
            except BaseException as error:
                log.note(f"failed: {type(error).__name__}: {error}")
                self.screen.fail(step, path)
                raise


class _Log:
    """A log file with the seconds since its start before each line."""

    def __init__(self, file: TextIO, clock: Clock) -> None:
        self._file = file
        self._clock = clock
        self._start = clock.monotonic()
        self._left = LOG_LINES_MAX

    def note(self, text: str) -> None:
        """Add what happened, as one line or several."""
        for line in text.splitlines() or [""]:
            if self._left > 0:
                self._file.write(f"{self._clock.monotonic() - self._start:8.2f} {line}\n")
            self._left -= 1


@dataclass(frozen=True, slots=True)
class _LoggedRunner:
    """Runs commands and writes into the log what was run, and how it ended."""

    inner: CommandRunner
    log: _Log
    clock: Clock

    def run(self, *argv: str, stdin: bytes = b"", timeout_s: float = DEFAULT_TIMEOUT_S) -> str:
        """See ``CommandRunner.run``."""
        self.log.note(f"run {' '.join(argv)}")
        try:
            said = self.inner.run(*argv, stdin=stdin, timeout_s=timeout_s)
        except CommandFailed as error:
            self.log.note(str(error))
            raise
        self.log.note(said) if said.strip() else None
        return said
