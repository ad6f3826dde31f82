"""The values that specs and settings are made of: numbers with bounds, names, addresses, words.

Each says by itself what may stand there, in words for people. What a key means is said where it
is used, in ``reconciler.spec``, ``reconciler.overrides`` and ``reconciler.settings``.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Any, Final, TypeVar

from annotated_types import Ge, Gt, Le, Len
from pydantic import AfterValidator, Field, WithJsonSchema

from maculaos.addresses import parse_address
from maculaos.identity import NAME_PATTERN, REALM_PATTERN, check_name, check_realm

# Unknown keys are errors, nothing is converted, and the text under a field describes it.
STRICT: Final[dict[str, Any]] = {
    "extra": "forbid",
    "strict": True,
    "use_attribute_docstrings": True,
}

T = TypeVar("T")

_VARIABLE = re.compile(r"^[A-Za-z_][A-Za-z0-9_]{0,127}$")
# The variables that tell an app where its mesh is.
RESERVED_PREFIX: Final = "MACULA_"
# Of a node or an app: its jail's name has a prefix (``reconciler.names``), and 32 in all.
LONGEST_NAME: Final = 27
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
Command = Annotated[
    tuple[Word, ...],
    Len(0, 256),
    AfterValidator(_command),
    Field(json_schema_extra={"minItems": 1}),
]
Variable = Annotated[str, AfterValidator(_variable)]
