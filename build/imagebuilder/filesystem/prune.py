"""What the appliance never needs, taken out of the tree by rules that each give their reason.

Rules are patterns over paths: ``*``, ``?`` and ``[...]`` stay within one name, ``**`` as a whole
name spans folders. A pattern that fits a folder takes all that is in it. ``keep`` wins over
``remove``, and keeps the folders above. Pure; a rule that fits nothing is a note and no error,
since releases differ in what they have.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from imagebuilder.filesystem.tree import Tree, is_clean, parents
from maculaos.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

RULES_MAX: Final = 1000
_WILD: Final = re.compile(r"[*?\[]")


@dataclass(frozen=True, slots=True)
class Rule:
    """Paths that go, or stay, and why."""

    patterns: tuple[str, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class PruneRules:
    """A whole prune file."""

    remove: tuple[Rule, ...]
    keep: tuple[Rule, ...] = ()


@dataclass(frozen=True, slots=True)
class Removed:
    """What one rule took out: paths and bytes; a path counts for the first rule that fits it."""

    reason: str
    paths: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class PruneReport:
    """What pruning did."""

    removed: tuple[Removed, ...]
    # One line for each pattern that fitted nothing.
    notes: tuple[str, ...]

    @property
    def size_bytes(self) -> int:
        """Bytes taken out by all rules."""
        return sum(each.size_bytes for each in self.removed)


def parse_rules(text: str, where: str) -> PruneRules:
    """The rules of a TOML document; raises ``UsageError`` with the place of a mistake.

    Its form: ``[[remove]]`` and ``[[keep]]`` tables, each with ``paths`` and ``reason``.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{where}: {error}", "see the first rules of the file") from error
    unknown = sorted(document.keys() - {"remove", "keep"})
    if unknown:
        raise UsageError(f"{where}: {unknown[0]} is no rule", "write [[remove]] or [[keep]]")
    rules = {
        kind: tuple(_rules(document.get(kind, []), f"{where}: {kind}"))
        for kind in ("remove", "keep")
    }
    if len(rules["remove"]) + len(rules["keep"]) > RULES_MAX:
        raise UsageError(f"{where}: more than {RULES_MAX} rules", "use patterns")
    return PruneRules(rules["remove"], rules["keep"])


def _rules(tables: Any, where: str) -> Iterator[Rule]:
    if not isinstance(tables, list):
        raise UsageError(f"{where} is no list of tables", "write it in double brackets")
    for number, table in enumerate(tables, 1):
        place = f"{where} {number}"
        if not isinstance(table, dict) or table.keys() != {"paths", "reason"}:
            raise UsageError(f"{place}: needs paths and reason, and nothing else")
        paths, reason = table["paths"], table["reason"]
        if not isinstance(reason, str) or not reason.strip():
            raise UsageError(f"{place}: the reason is empty", "say why nobody misses it")
        if not isinstance(paths, list) or not paths:
            raise UsageError(f"{place}: paths is no list of patterns")
        for pattern in paths:
            _check_pattern(pattern, place)
        yield Rule(tuple(paths), reason)


def _check_pattern(pattern: Any, place: str) -> None:
    if not isinstance(pattern, str) or not pattern or not is_clean(pattern):
        raise UsageError(f"{place}: {pattern!r} is no pattern", "write it like usr/share/man")
    try:
        compile_pattern(pattern)
    except re.error as error:
        raise UsageError(f"{place}: {pattern!r}: {error}", "mend the brackets") from None


def compile_pattern(pattern: str) -> re.Pattern[str]:
    """A pattern over whole paths as a regular expression."""
    parts = pattern.split("/")
    pieces = []
    for index, part in enumerate(parts):
        last = index == len(parts) - 1
        if part == "**":
            # At the end: everything below. Elsewhere: any number of folders, none included.
            pieces.append(".+" if last else "(?:[^/]+/)*")
        else:
            pieces.append(_name_expression(part) + ("" if last else "/"))
    return re.compile("".join(pieces), re.DOTALL)


def _name_expression(part: str) -> str:
    """One name of a pattern; what fnmatch lets fit anything fits no slash here."""
    expression = ""
    for piece in re.split(r"(\*|\?|\[!?\]?[^\]]*\])", part):
        if piece == "*":
            expression += "[^/]*"
        elif piece == "?":
            expression += "[^/]"
        elif len(piece) > 2 and piece.startswith("[") and piece.endswith("]"):
            negated = piece.startswith("[!")
            choice = re.sub(r"([\\\[\]^&~|])", r"\\\1", piece[1 + negated : -1])
            expression += f"(?!/)[{'^' * negated}{choice}]"
        else:
            expression += re.escape(piece)
    return expression


class _Matcher:
    """Patterns in order; plain paths are looked up, patterns tried one by one."""

    def __init__(self, patterns: Sequence[str]) -> None:
        self._plain: dict[str, int] = {}
        self._wild: list[tuple[int, re.Pattern[str]]] = []
        for index, pattern in enumerate(patterns):
            if _WILD.search(pattern):
                self._wild.append((index, compile_pattern(pattern)))
            else:
                self._plain.setdefault(pattern, index)

    def fits(self, path: str) -> list[int]:
        """The patterns that fit exactly this path, by their index."""
        found = [index for index, wild in self._wild if wild.fullmatch(path)]
        if path in self._plain:
            found.append(self._plain[path])
        return sorted(found)


def prune(tree: Tree, rules: PruneRules, sizes: Mapping[str, int]) -> tuple[Tree, PruneReport]:
    """The tree without what the rules remove; ``sizes`` gives the bytes of files by path."""
    order = [(rule, pattern) for rule in rules.remove for pattern in rule.patterns]
    marks, unused = _mark(tree, [pattern for _, pattern in order])
    kept_patterns = [pattern for rule in rules.keep for pattern in rule.patterns]
    kept, unused_keeps = _mark(tree, kept_patterns)
    stays = {path for path in marks if marks[path] is None or kept[path] is not None}
    stays |= {above for path in list(stays) for above in parents(path)}
    pruned = tree.only(stays)
    gone = {
        path: order[mark][0]
        for path, mark in marks.items()
        if mark is not None and path not in stays
    }
    freed = _freed(tree, stays, sizes)
    report = PruneReport(
        tuple(_removed(rule, gone, freed) for rule in rules.remove),
        tuple(f"nothing to remove at {order[index][1]}" for index in unused)
        + tuple(f"nothing to keep at {kept_patterns[index]}" for index in unused_keeps),
    )
    return pruned, report


def _mark(tree: Tree, patterns: Sequence[str]) -> tuple[dict[str, int | None], list[int]]:
    """For each path the first pattern that fits it or a folder above; and patterns without use."""
    matcher = _Matcher(patterns)
    marks: dict[str, int | None] = {}
    used: set[int] = set()
    # Parents come first, so the mark of the folder above is known.
    for entry in tree.entries:
        fits = matcher.fits(entry.path) if entry.path else []
        used.update(fits)
        above = marks.get(entry.path.rpartition("/")[0]) if entry.path else None
        marks[entry.path] = above if above is not None else (fits[0] if fits else None)
    return marks, [index for index in range(len(patterns)) if index not in used]


def _freed(tree: Tree, stays: set[str], sizes: Mapping[str, int]) -> dict[str, int]:
    """Bytes of each path that goes; those of hard links go only with the last of them."""
    alive = {entry.same_as or entry.path for entry in tree.entries if entry.path in stays}
    return {path: size for path, size in sizes.items() if path not in alive}


def _removed(rule: Rule, gone: Mapping[str, Rule], freed: Mapping[str, int]) -> Removed:
    paths = [path for path, by in gone.items() if by is rule]
    return Removed(rule.reason, len(paths), sum(freed.get(path, 0) for path in paths))
