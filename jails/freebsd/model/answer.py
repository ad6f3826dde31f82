"""What a command of the model answers: both outputs and the exit status."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Answer:
    """Standard output, standard error and exit status."""

    stdout: str = ""
    stderr: str = ""
    status: int = 0

    def __add__(self, other: Answer) -> Answer:
        """Both outputs one after the other; the later status."""
        return Answer(self.stdout + other.stdout, self.stderr + other.stderr, other.status)


def refused(stderr: str, status: int = 1) -> Answer:
    """A command that failed with one line."""
    return Answer(stderr=f"{stderr}\n", status=status)


class UntaughtCommand(AssertionError):
    """The model was asked for what it was never taught: teach it, or do not ask."""

    def __init__(self, argv: tuple[str, ...]) -> None:
        super().__init__(f"the model of FreeBSD does not know: {' '.join(argv)}")
        self.argv = argv
