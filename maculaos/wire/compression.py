"""Compressed payloads: zlib (RFC 1950), made when it pays, inflated within bounds.

A bomb is a short payload that inflates to a long one. Two bounds stop it: no payload may inflate
to more than a frame may hold, nor to more than ``MAX_RATIO`` times itself; neither costs more
memory than the bound. A sender that would break the second sends the payload as it is.
"""

from __future__ import annotations

import zlib
from typing import Final

from maculaos.wire.frames import MAX_PAYLOAD_SIZE, FrameError
from maculaos.wire.registry import ErrorCode

# Below it a header and a dictionary cost about what is saved.
MIN_COMPRESSED_SIZE: Final = 1024
# Above it the event loop would stand still for more than a few milliseconds.
MAX_COMPRESSED_SIZE: Final = 1024 * 1024
MAX_RATIO: Final = 256
# The fastest: a link of this program is slower per byte than this is.
_LEVEL: Final = 1
# Media and what is encrypted give themselves away in their first bytes.
_SAMPLE_SIZE: Final = 4096


def compress(payload: bytes) -> bytes | None:
    """``payload`` compressed, or nothing when that does not save an eighth of it."""
    size = len(payload)
    if not MIN_COMPRESSED_SIZE <= size <= MAX_COMPRESSED_SIZE:
        return None
    if size > 2 * _SAMPLE_SIZE and not _pays(payload[:_SAMPLE_SIZE]):
        return None
    deflated = zlib.compress(payload, _LEVEL)
    if len(deflated) > size - size // 8 or size > MAX_RATIO * len(deflated):
        return None
    return deflated


def inflate(payload: bytes) -> bytes:
    """What was compressed into ``payload``.

    Raises ``FrameError``: TOO_LARGE beyond one of the two bounds, MALFORMED for anything that is
    not one whole zlib stream.
    """
    bound = min(MAX_PAYLOAD_SIZE, MAX_RATIO * len(payload))
    machine = zlib.decompressobj()
    try:
        inflated = machine.decompress(payload, bound + 1)
    except zlib.error as error:
        raise FrameError(ErrorCode.MALFORMED, "the payload is not compressed") from error
    if len(inflated) > bound:
        raise FrameError(ErrorCode.TOO_LARGE, f"the payload inflates to more than {bound} bytes")
    if not machine.eof or machine.unused_data:
        raise FrameError(ErrorCode.MALFORMED, "the payload is not one whole compressed stream")
    return inflated


def _pays(sample: bytes) -> bool:
    return len(zlib.compress(sample, _LEVEL)) <= len(sample) - len(sample) // 8
