"""What is wrong with a document, and where: one line for people."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from maculaos.errors import MaculaError

if TYPE_CHECKING:
    from collections.abc import Iterable

# Enough to repair a file in one go; a file of garbage does not fill the log.
MAX_PROBLEMS: Final = 100


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One thing to repair; line and column count from 1, as editors do."""

    path: str
    line: int
    column: int
    what: str
    hint: str = ""

    def __str__(self) -> str:
        said = f"{self.path}:{self.line}:{self.column}: {self.what}"
        text = f"{said}; {self.hint}" if self.hint else said
        # It quotes paths and values of somebody else's files, and no terminal may obey those.
        return "".join(sign if sign.isprintable() else _escaped(sign) for sign in text)


def _escaped(sign: str) -> str:
    return sign.encode("unicode_escape", "surrogatepass").decode()


class InvalidDocument(MaculaError):
    """A document with problems, in the order of the file; there is at least one."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(set(problems)))[:MAX_PROBLEMS]
        super().__init__("\n".join(map(str, self.problems)))
