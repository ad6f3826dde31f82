"""The one error of every parser here: a tool said something that it was never seen to say."""

from __future__ import annotations

from maculaos.errors import MaculaError

_MOST_SHOWN = 200


class UnreadableAnswer(MaculaError):
    """``tool`` answered with ``line``, which its parser cannot read.

    Whoever guesses on such a line may delete what is not ours; so nothing is guessed.
    """

    def __init__(self, tool: str, line: str) -> None:
        super().__init__(f"{tool}: cannot read its line {line[:_MOST_SHOWN]!r}")
        self.tool = tool
        self.line = line
