"""Who fills templates: one bounded child for all templates of a commit, none where there are none.

If the child dies, the template that it died of is blamed, and another child does the rest; after
a few deaths whatever is left is refused. What was filled once is remembered.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final

from maculaos.host.confined import Bounds, run_confined
from reconciler.specs.templates import Filled, Template, Unfillable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

CHILD: Final = "reconciler.specs.sandbox"
DEATHS_MAX: Final = 4
REMEMBERED_MAX: Final = 4096
_HINT: Final = "see Templates in docs/spec.md"


class SandboxFiller:
    """Fills templates with jinja2's sandbox, in a child process."""

    def __init__(self, bounds: Bounds | None = None) -> None:
        self._bounds = bounds or Bounds()
        self._known: OrderedDict[Template, str] = OrderedDict()
        # How many children were started, for who measures.
        self.children = 0

    def fill(self, templates: Sequence[Template]) -> tuple[Filled, ...]:
        """See ``Filler.fill``; raises ``OSError`` if the machine has no room for a process."""
        wanted = list(dict.fromkeys(templates))
        filled: dict[Template, Filled] = {t: self._known[t] for t in wanted if t in self._known}
        left = [template for template in wanted if template not in filled]
        deaths = 0
        while left and deaths < DEATHS_MAX:
            done, death = self._filled(left)
            filled.update(done)
            left = left[len(done) :]
            if left:
                deaths += 1
                filled[left.pop(0)] = Unfillable(f"this template cannot be filled: {death}", _HINT)
        untried = Unfillable("not tried: too many other templates went wrong", _HINT)
        filled.update(dict.fromkeys(left, untried))
        self._remember(filled)
        return tuple(filled[template] for template in templates)

    def _filled(self, templates: Sequence[Template]) -> tuple[dict[Template, Filled], str]:
        """What one child filled, from the first on, and why it did no more."""
        self.children += 1
        stdin = b"".join(_request(template) for template in templates)
        ended = run_confined(CHILD, stdin, self._bounds)
        # What follows the last line break was being written.
        lines = ended.output.split(b"\n")[:-1]
        answers = zip(templates, map(_answer, lines), strict=False)
        return dict(answers), ended.why or "it wrote nothing"

    def _remember(self, filled: dict[Template, Filled]) -> None:
        for template, text in filled.items():
            if isinstance(text, str):
                self._known[template] = text
                self._known.move_to_end(template)
        while len(self._known) > REMEMBERED_MAX:
            self._known.popitem(last=False)


def _request(template: Template) -> bytes:
    return json.dumps({"text": template.text, "names": json.loads(template.names)}).encode() + b"\n"


def _answer(line: bytes) -> Filled:
    said: dict[str, Any] = json.loads(line)
    if "text" in said:
        return str(said["text"])
    return Unfillable(str(said["what"]), _HINT)


def named(names: Iterable[tuple[str, Any]]) -> str:
    """What a template may name, as ``Template`` carries it."""
    return json.dumps(dict(names), sort_keys=True)
