"""The values that specs and settings are made of: numbers with bounds, names, addresses, words.

Each says by itself what may stand there, in words for people. What a key means is said where it
is used, in ``reconciler.specs.spec``, ``reconciler.specs.overrides`` and ``reconciler.settings``.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Any, Final, TypeVar

from annotated_types import Ge, Gt, Le, Len
from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from maculaos.addresses import parse_address
from maculaos.identity import NAME_PATTERN, REALM_PATTERN, check_name, check_realm

# Unknown keys are errors, and nothing is converted. The text under a field describes it:
# ``reconciler.specs.schema``.
STRICT: Final[dict[str, Any]] = {
    "extra": "forbid",
    "strict": True,
    # Validators are built when they are first used: most commands use few of them.
    "defer_build": True,
}

T = TypeVar("T")


class Templated:
    """Marks a type of text in which ``{{ ... }}`` is filled in, see ``reconciler.specs``."""


TEMPLATED: Final = Templated()

_VARIABLE = re.compile(r"^[A-Za-z_][A-Za-z0-9_]{0,127}$")
# The variables that tell an app where its mesh is.
RESERVED_PREFIX: Final = "MACULA_"
# Of a node or an app: its jail's name has a prefix (``reconciler.names``), and 32 in all.
LONGEST_NAME: Final = 27
_LABEL_KEY: Final = re.compile(r"[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?")
_LABEL_VALUE: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
_MACHINE: Final = re.compile(r"[a-z0-9_]([a-z0-9._-]{0,251}[a-z0-9_])?")
_MACHINE_GLOB: Final = re.compile(r"[a-z0-9._*?\[\]!-]{1,253}")
# An underscore in front is what templates may not read.
_VAR: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")
_SHORT_NAME_PATTERN: Final = r"^[a-z0-9]([a-z0-9-]{0,25}[a-z0-9])?$"


def _given(value: T) -> T:
    if value is None:
        raise ValueError("has no value: give one, or leave the key out")
    return value


def _ip_address(text: str) -> str:
    if "%" in text:
        raise ValueError(f"{text!r} has a scope: other machines cannot dial it")
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise ValueError(f"{text!r} is not an IP address") from None


def _peer(text: str) -> str:
    return str(parse_address(text)) if ":" in text else check_name(text)


def _jailed_name(text: str) -> str:
    if len(check_name(text)) > LONGEST_NAME:
        raise ValueError(f"{text!r} has {len(text)} characters, at most {LONGEST_NAME} fit")
    return text


def _word(text: str) -> str:
    if "\0" in text:
        raise ValueError("a NUL byte cannot be passed to a program")
    return text


def _command(words: tuple[str, ...]) -> tuple[str, ...]:
    if not words or not words[0]:
        raise ValueError("must start with the name of a program")
    return words


def check_label_key(text: str) -> str:
    """Return ``text`` if it can be the key of a label; else ``ValueError``."""
    if _LABEL_KEY.fullmatch(text) is None:
        raise ValueError(f"{text!r} cannot be the key of a label: use a-z, 0-9, . _ and -")
    return text


def check_label_value(text: str) -> str:
    """Return ``text`` if it can be the value of a label; else ``ValueError``."""
    if _LABEL_VALUE.fullmatch(text) is None:
        raise ValueError(f"{text!r} cannot be the value of a label: use letters, digits, . _ and -")
    return text


def check_machine(text: str) -> str:
    """Return ``text`` if it can name a machine; else ``ValueError``."""
    if _MACHINE.fullmatch(text) is None:
        raise ValueError(f"{text!r} cannot name a machine: use a-z, 0-9, . _ and -")
    return text


def _machine_glob(text: str) -> str:
    if _MACHINE_GLOB.fullmatch(text) is None:
        raise ValueError(f"{text!r} names no machines: use a-z, 0-9, . _ - and * ? [ ]")
    return text


def _var(text: str) -> str:
    if _VAR.fullmatch(text) is None:
        raise ValueError(f"{text!r} cannot name a value: use letters, digits and _")
    return text


def _listed(given: Any) -> Any:
    if isinstance(given, str):
        return (given,)
    return tuple(given) if isinstance(given, list) else given


def _some(given: T) -> T:
    if not given:
        raise ValueError("names nothing: give one at least, or leave the key out")
    return given


def _variable(text: str) -> str:
    if _VARIABLE.fullmatch(text) is None:
        raise ValueError(f"{text!r} cannot name a variable: use letters, digits and _")
    if text.startswith(RESERVED_PREFIX):
        raise ValueError(f"{text!r} is taken: names that start with {RESERVED_PREFIX} are set here")
    return text


# A key that may be left out, but not be written without a value.
Maybe = Annotated[T | None, AfterValidator(_given)]

Seconds = Annotated[float, Gt(0), Le(86_400)]
Port = Annotated[int, Ge(1), Le(65_535)]
Multiplier = Annotated[int, Ge(1), Le(20)]
QueueBytes = Annotated[int, Ge(65_536), Le(1 << 30)]
Name = Annotated[
    str, AfterValidator(check_name), WithJsonSchema({"type": "string", "pattern": NAME_PATTERN})
]
JailedName = Annotated[
    str,
    AfterValidator(_jailed_name),
    WithJsonSchema({"type": "string", "pattern": _SHORT_NAME_PATTERN}),
]
Realm = Annotated[
    str, AfterValidator(check_realm), WithJsonSchema({"type": "string", "pattern": REALM_PATTERN})
]
IpAddress = Annotated[str, AfterValidator(_ip_address)]
WrittenAddress = Annotated[str, AfterValidator(lambda text: str(parse_address(text)))]
Peer = Annotated[str, AfterValidator(_peer)]
Word = Annotated[str, Len(0, 4096), AfterValidator(_word)]
# Text in which templates are filled in; checked after that.
TemplatedWord = Annotated[str, Len(0, 4096), AfterValidator(_word), TEMPLATED]
Command = Annotated[
    tuple[TemplatedWord, ...],
    Len(0, 256),
    AfterValidator(_command),
    Field(json_schema_extra={"minItems": 1}),
]
Variable = Annotated[str, AfterValidator(_variable)]
LabelKey = Annotated[str, AfterValidator(check_label_key)]
LabelValue = Annotated[str, AfterValidator(check_label_value)]
MachineName = Annotated[str, AfterValidator(check_machine)]
MachineGlob = Annotated[str, AfterValidator(_machine_glob)]
# One text, or a list of them.
LabelValues = Annotated[
    tuple[LabelValue, ...],
    Len(0, 64),
    AfterValidator(_some),
    BeforeValidator(_listed),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
]
MachineGlobs = Annotated[tuple[MachineGlob, ...], Len(0, 256), AfterValidator(_some)]
Vars = Annotated[dict[Annotated[str, AfterValidator(_var)], Word], Len(0, 256)]
