"""The child that fills templates: ``python -m reconciler.specs.sandbox``, bounded by the kernel.

A line of JSON in for each template, and one out, in the same order, each as soon as it is known:
if this process dies, the first line that is missing is that of the template it died of. There are
expressions and filters, and neither statements nor comments: ``{%`` and ``{#`` are plain text.
Nothing that a template can name has attributes.
"""

from __future__ import annotations

import json
import sys
from typing import Any, Final

from jinja2 import StrictUndefined, TemplateError, TemplateSyntaxError
from jinja2.exceptions import SecurityError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from maculaos.host.confined import confine

RESULT_MAX: Final = 64 * 1024
_NEVER: Final = "\0"


class Names:
    """A mapping of which nothing but its values can be asked for."""

    __slots__ = ("__held",)

    def __init__(self, held: dict[str, Any]) -> None:
        self.__held = held

    def __getitem__(self, key: str) -> Any:
        """The value of that name; raises ``KeyError``."""
        return self.__held[key]


class Unknown(StrictUndefined):
    """A name that means nothing here: whatever is done with it is an error in words."""

    @property
    def _undefined_message(self) -> str:
        return f"nothing is known as {self._undefined_name!r} there"


def environment() -> ImmutableSandboxedEnvironment:
    """Where templates are filled: no loader, no statements, nothing undefined."""
    env = ImmutableSandboxedEnvironment(
        undefined=Unknown,
        autoescape=False,  # words for programs, no markup
        finalize=_plain_text,
        block_start_string=f"{_NEVER}%",
        block_end_string=f"%{_NEVER}",
        comment_start_string=f"{_NEVER}#",
        comment_end_string=f"#{_NEVER}",
        keep_trailing_newline=True,
    )
    env.globals.clear()
    return env


def filled(env: ImmutableSandboxedEnvironment, said: dict[str, Any]) -> dict[str, str]:
    """The answer to one line: ``text``, or ``what`` went wrong."""
    names = {key: _guarded(value) for key, value in said["names"].items()}
    try:
        text = env.from_string(said["text"]).render(names)
    except TemplateSyntaxError as error:
        return {"what": f"this is no template: {error.message}"}
    except SecurityError:
        return {"what": "a template may not do this"}
    except TemplateError as error:
        return {"what": f"this cannot be filled: {error.message}"}
    except MemoryError:
        return {"what": "this template needs too much memory"}
    except Exception as error:  # noqa: BLE001  # filters raise what they like; it is the template's fault
        return {"what": f"this cannot be filled: {type(error).__name__}: {error}"[:300]}
    if len(text) > RESULT_MAX:
        return {"what": f"it fills to {len(text)} characters, more than {RESULT_MAX}"}
    return {"text": text}


def _plain_text(value: Any) -> Any:
    if isinstance(value, (str, int, float, StrictUndefined)):
        return value
    raise TemplateError(f"{type(value).__name__.lower()} is no text; name one value of it")


def _guarded(value: Any) -> Any:
    if isinstance(value, dict):
        return Names({key: _guarded(inner) for key, inner in value.items()})
    return value


def main() -> None:
    """Fill what comes on standard input."""
    confine(*map(int, sys.argv[1:4]))
    env = environment()
    for line in sys.stdin.buffer:
        answer = json.dumps(filled(env, json.loads(line)))
        sys.stdout.write(answer + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
