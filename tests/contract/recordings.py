"""Recordings of real commands, cut into commands and what each of them answered.

A recording is what a shell with ``set -x`` left on one terminal: commands behind ``+ ``, both
outputs mixed, and exit statuses where somebody wrote ``echo rc N``. What that leaves open is
decided here, by these rules:

- ``echo rc N`` states the status of the command before it; without it the status is not known.
- Of two commands in a pipe the second is the filter of the first (``+ rctl``, ``+ grep ...``).
- What starts with the name of a tool and a colon was standard error.
- ``printf`` and ``echo`` of other text fed a file or a pipe: they are steps of their own.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, replace
from pathlib import Path

FOLDER = Path(__file__).parent / "freebsd-13.1"
_STATUS = re.compile(r"(?:.* )?rc (\d+)(?: \(.*\))?")
_TIMES = re.compile(r"\s+[\d.]+ real\s+[\d.]+ user\s+[\d.]+ sys")
_COMMAND = re.compile(r"(?:^|(?<=^\d{3}))\+ (.*)$", re.MULTILINE)
_TOOLS = "jail|jls|jexec|ifconfig|ps|umount|rctl|pfctl|sysctl|sh|tail"
_ERROR = re.compile(rf"(?:{_TOOLS}): .*|stdin:\d.*|pf (?:en|dis)abled|Segmentation fault")
_INTERLEAVED = re.compile(r'jexec: (.*\n)(jail "web" not found\n)(\+ jls -h .*\n)')
_FILTERS = ("head", "grep", "egrep")
# These always say something: where they seem silent, a filter behind them had the word.
_TALKATIVE = ("mount", "ps", "gpart", "diskinfo", "pfctl", "tunefs")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """One command and its answer; ``status`` is None where nobody asked for it."""

    argv: tuple[str, ...]
    stdout: str
    stderr: str
    status: int | None = None
    # What only a part of the output went through, if it did.
    filtered_by: tuple[str, ...] = ()


def load(name: str) -> list[Recorded]:
    """The commands of ``freebsd-13.1/<name>.txt``, in order, statuses and filters joined."""
    text = (FOLDER / f"{name}.txt").read_text(encoding="utf-8")
    # The one place where one command's words landed inside a line of the one before.
    text = _INTERLEAVED.sub(r"jexec: \2\3\1", text)
    starts = [*_COMMAND.finditer(text)]
    ends = [start.start() for start in starts[1:]] + [len(text)]
    raw = [_cut(s[1], text[s.end() + 1 : end]) for s, end in zip(starts, ends, strict=True)]
    return _with_filters(_with_statuses(raw))


def answers(name: str, *argv: str) -> list[Recorded]:
    """Every unfiltered answer to a command that starts with ``argv``."""
    found = [each for each in load(name) if each.argv[: len(argv)] == argv]
    return [each for each in found if not each.filtered_by]


def configuration(name: str) -> str:
    """A file that a recorded command read; see the README for where it comes from."""
    return (FOLDER / "confs" / name).read_text(encoding="utf-8")


def _cut(command: str, output: str) -> Recorded:
    words = shlex.split(command)
    kept = [
        line
        for line in output.splitlines(keepends=True)
        if not (_STATUS.fullmatch(line.rstrip("\n")) or _TIMES.fullmatch(line.rstrip("\n")))
    ]
    return Recorded(
        argv=tuple(words[1:] if words[0] == "time" else words),
        stdout="".join(line for line in kept if not _ERROR.match(line)),
        stderr="".join(line for line in kept if _ERROR.match(line)),
    )


def _with_statuses(raw: list[Recorded]) -> list[Recorded]:
    joined: list[Recorded] = []
    for each in raw:
        said = _STATUS.fullmatch(" ".join(each.argv[1:])) if each.argv[0] == "echo" else None
        if said is None:
            joined.append(each)
            continue
        # What is printed after the status was written by the command and came late.
        before = joined.pop()
        joined.append(
            replace(
                before,
                status=int(said[1]),
                stdout=before.stdout + each.stdout,
                stderr=before.stderr + each.stderr,
            )
        )
    return joined


def _with_filters(raw: list[Recorded]) -> list[Recorded]:
    joined: list[Recorded] = []
    waiting: Recorded | None = None
    for each in raw:
        if each.argv[0] not in _FILTERS:
            if waiting is not None:
                each, waiting = replace(each, filtered_by=waiting.argv), None
            joined.append(each)
        elif joined and not joined[-1].stdout and joined[-1].argv[0] in _TALKATIVE:
            # ``+ mount`` and ``+ grep web``: the output stands behind the filter.
            joined[-1] = replace(joined[-1], stdout=each.stdout, filtered_by=each.argv)
        else:
            waiting = each
    return joined
