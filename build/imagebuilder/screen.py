"""What a person sees of a build: one line for each step, and a bar while it works.

On a terminal rich draws the bars; elsewhere there are plain lines. Everything goes to standard
error. What a step did in detail is in its log.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    from rich.console import Console

    from imagebuilder.plan import Step

# The longest name of a step, and a little.
_NAME_WIDTH: Final = 20


class Screen(Protocol):
    """Who is told how a build goes on."""

    def begin(self, step: Step) -> None:
        """The step starts."""
        ...

    def advance(self, done: int, total: int) -> None:
        """The step has done so much of its whole work, in whatever it counts by."""
        ...

    def end(self, step: Step, seconds: float) -> None:
        """The step is done and its outputs are in place."""
        ...

    def fail(self, step: Step, log: Path) -> None:
        """The step failed; what it did until then is in its log."""
        ...


class Silence:
    """Shows nothing."""

    def begin(self, step: Step) -> None:
        """See ``Screen.begin``."""
        del step

    def advance(self, done: int, total: int) -> None:
        """See ``Screen.advance``."""
        del done, total

    def end(self, step: Step, seconds: float) -> None:
        """See ``Screen.end``."""
        del step, seconds

    def fail(self, step: Step, log: Path) -> None:
        """See ``Screen.fail``."""
        del step, log


class Lines:
    """Plain lines, for logs and pipes."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def begin(self, step: Step) -> None:
        """See ``Screen.begin``."""
        self._console.print(f"{step.name:<{_NAME_WIDTH}} {step.title}", markup=False)

    def advance(self, done: int, total: int) -> None:
        """See ``Screen.advance``."""
        del done, total

    def end(self, step: Step, seconds: float) -> None:
        """See ``Screen.end``."""
        self._console.print(f"{step.name:<{_NAME_WIDTH}} done in {seconds:.1f} s", markup=False)

    def fail(self, step: Step, log: Path) -> None:
        """See ``Screen.fail``."""
        self._console.print(f"{step.name:<{_NAME_WIDTH}} failed; its log is {log}", markup=False)


class Bars:
    """A bar for the step at work, drawn by rich; to be used in a ``with`` block."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress = Progress(
            TextColumn(f"{{task.fields[step]:<{_NAME_WIDTH}}}", markup=False),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=30),
            TimeElapsedColumn(),
            console=console,
            transient=True,
        )
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def begin(self, step: Step) -> None:
        """See ``Screen.begin``."""
        self._task = self._progress.add_task(step.title, total=None, step=step.name)

    def advance(self, done: int, total: int) -> None:
        """See ``Screen.advance``."""
        if self._task is not None:
            self._progress.update(self._task, completed=done, total=total or None)

    def end(self, step: Step, seconds: float) -> None:
        """See ``Screen.end``."""
        if self._task is not None:
            self._progress.remove_task(self._task)
            self._task = None
        self._console.print(
            f"{step.name:<{_NAME_WIDTH}} {step.title}: {seconds:.1f} s", markup=False
        )

    def fail(self, step: Step, log: Path) -> None:
        """See ``Screen.fail``."""
        self._console.print(f"{step.name:<{_NAME_WIDTH}} failed; its log is {log}", markup=False)
