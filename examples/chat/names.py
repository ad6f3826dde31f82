"""Names of people, rooms and programs, and what of a text is fit to be shown.

Decides what may be written; who bears a name is the roster's to know.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Annotated, Final, TypeAlias

from msgspec import Meta

from maculaos.errors import UsageError

NICK_PATTERN: Final = r"^\w[\w.-]{0,23}\Z"
ROOM_PATTERN: Final = r"^[a-z0-9][a-z0-9-]{0,31}\Z"
MAX_TEXT: Final = 2000

Nick: TypeAlias = Annotated[str, Meta(pattern=NICK_PATTERN)]
RoomName: TypeAlias = Annotated[str, Meta(pattern=ROOM_PATTERN)]
# One running program of one person: 8 bytes in hex, drawn when it starts.
Seat: TypeAlias = Annotated[str, Meta(pattern=r"^[0-9a-f]{16}\Z")]


def check_nick(nick: str) -> str:
    """Return ``nick`` if a person may be called so; raises ``UsageError``."""
    if re.match(NICK_PATTERN, nick) is None:
        raise UsageError(
            f"{clean(nick)!r} is no name", "use up to 24 letters, digits, '.', '-' and '_'"
        )
    return nick


def check_room(room: str) -> str:
    """``room`` without a leading ``#``, if a room may be called so; raises ``UsageError``."""
    bare = room.removeprefix("#").lower()
    if re.match(ROOM_PATTERN, bare) is None:
        raise UsageError(f"{clean(room)!r} is no room", "use up to 32 of a-z, 0-9 and '-'")
    return bare


def clean(text: str) -> str:
    """``text`` without what would steer a terminal or turn it around; at most ``MAX_TEXT``."""
    return "".join(each for each in text[:MAX_TEXT] if _is_fit(each)).strip()


def _is_fit(character: str) -> bool:
    # Cc: controls. Cf: invisible marks, some of which reverse what follows; emoji need the joiner.
    # Cs, Co, Cn: nothing a font could show.
    if character in "\n\u200d":
        return True
    return not unicodedata.category(character).startswith("C") and character not in "\u2028\u2029"
