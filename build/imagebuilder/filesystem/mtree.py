"""Trees as mtree(5) text: written beside an image, and read from the METALOG of a base build.

The text says what should be on the system, so ``mtree -f SPEC -p /`` on a machine tells what
differs. Paths are whole and start at ``.``; parents come first. Neither size nor link count is
written: they follow from the files. Names are escaped as vis(3) does, in octal. Pure.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Final

from imagebuilder.entries import Entry, Kind
from imagebuilder.filesystem.tree import is_clean
from maculaos.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

SPEC_CHARACTERS_MAX: Final = 64 << 20
_PLAIN: Final = frozenset(
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789/._-+:,@%~!$^&(){}';|<>"
)
_OCTAL: Final = re.compile(rb"\\([0-7]{3})")
_NO_FLAGS: Final = "none"


class InvalidSpec(UsageError):
    """A line of mtree text that cannot be used."""


def escape(text: str) -> str:
    """A name or a link's text without spaces, ``#``, patterns and control characters."""
    return "".join(chr(byte) if byte in _PLAIN else f"\\{byte:03o}" for byte in os.fsencode(text))


def unescape(text: str) -> str:
    """The inverse of ``escape``."""
    raw = _OCTAL.sub(lambda code: bytes([int(code[1], 8) & 0xFF]), os.fsencode(text))
    return os.fsdecode(raw)


def write_spec(entries: Iterable[Entry], time_s: int) -> str:
    """The text for entries that are in order; every time is ``time_s``."""
    return "#mtree 2.0\n" + "".join(_line(entry, time_s) for entry in entries)


def _line(entry: Entry, time_s: int) -> str:
    path = f"./{escape(entry.path)}" if entry.path else "."
    words = [
        path,
        f"type={entry.kind}",
        f"uname={escape(entry.owner)}",
        f"gname={escape(entry.group)}",
        f"mode=0{entry.mode:o}",
        f"time={time_s}.0",
    ]
    if entry.kind is Kind.SYMLINK:
        words.append(f"link={escape(entry.target)}")
    if entry.flags:
        words.append(f"flags={','.join(entry.flags)}")
    return " ".join(words) + "\n"


def read_spec(text: str, root: Path | None = None) -> list[Entry]:
    """The entries of a text with whole paths, such as a METALOG; of two lines the last counts.

    The bytes of files lie below ``root``, or where a line's ``contents`` says below it. Keywords
    that say nothing about an entry (sizes, digests, tags) are passed over. Raises ``InvalidSpec``
    with the line of a mistake.
    """
    if len(text) > SPEC_CHARACTERS_MAX:
        raise InvalidSpec(f"larger than {SPEC_CHARACTERS_MAX} characters")
    found: dict[str, Entry] = {}
    defaults: dict[str, str] = {}
    for number, line in enumerate(text.replace("\\\n", " ").splitlines(), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        try:
            if words[0] == "/set":
                defaults.update(_keywords(words[1:]))
            elif words[0] == "/unset":
                for word in words[1:]:
                    defaults.pop(word, None)
            else:
                entry = _entry(words[0], defaults | _keywords(words[1:]), root)
                found[entry.path] = entry
        except ValueError as error:
            raise InvalidSpec(f"line {number}: {error}", "see mtree(5)") from None
    return list(found.values())


def _keywords(words: list[str]) -> dict[str, str]:
    return {name: value for name, _, value in (word.partition("=") for word in words)}


def _entry(path: str, words: dict[str, str], root: Path | None) -> Entry:
    """The entry of one line; raises ``ValueError`` with what is wrong."""
    plain = _below(path)
    try:
        kind, mode = Kind(words["type"]), int(words["mode"], 8)
    except (KeyError, ValueError) as error:
        raise ValueError(f"{path}: no usable type and mode ({error})") from None
    if not 0 <= mode <= 0o7777:
        raise ValueError(f"{path}: mode {words['mode']} is out of bounds")
    if kind is Kind.SYMLINK and "link" not in words:
        raise ValueError(f"{path}: a symbolic link without link=")
    flags = words.get("flags", _NO_FLAGS)
    source = None
    if kind is Kind.FILE and root is not None:
        source = root / _below(words.get("contents", path))
    return Entry(
        path=plain,
        kind=kind,
        mode=mode,
        owner=unescape(words.get("uname", words.get("uid", "root"))),
        group=unescape(words.get("gname", words.get("gid", "wheel"))),
        flags=() if flags in (_NO_FLAGS, "") else tuple(flags.split(",")),
        target=unescape(words["link"]) if kind is Kind.SYMLINK else "",
        source=source,
    )


def _below(path: str) -> str:
    """A path of the text as a path of an entry."""
    if path != "." and "/" not in path:
        raise ValueError(f"{path}: only whole paths are read, such as ./bin/sh")
    plain = unescape(path.removeprefix(".").lstrip("/"))
    if not is_clean(plain):
        raise ValueError(f"{path}: not a plain path")
    return plain
