"""Messages as frames of a link: compressed when it pays, in fragments when they are long.

Only links pack. The control socket joins programs of one machine, where neither saves anything;
the first words of a link are plain, too. See ``compression`` and ``fragments`` for the bounds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from maculaos.wire.compression import MIN_COMPRESSED_SIZE, compress, inflate
from maculaos.wire.fragments import Assembler, cut
from maculaos.wire.frames import Frame, FrameError, encode_frame
from maculaos.wire.messages import body_frame, decode_message
from maculaos.wire.registry import ErrorCode, FrameFlag

if TYPE_CHECKING:
    from maculaos.wire.messages import Message

_NUMBERS: Final = 1 << 32
# Plain numbers: the arithmetic of enums is slow, and this runs for every frame.
_COMPRESSED, _FRAGMENTED = int(FrameFlag.COMPRESSED), int(FrameFlag.FRAGMENTED)
_KNOWN_FLAGS: Final = _COMPRESSED | _FRAGMENTED


class Packer:
    """Turns messages to one peer into frames."""

    def __init__(self) -> None:
        self._number = 0

    def pack(self, message: Message, *, may_compress: bool = True) -> tuple[bytes, ...]:
        """The frames that carry ``message``, for one stream and in this order.

        Frames of other messages may go in between. Where bytes cost less than the time to save
        them, as between near nodes, nothing is compressed. Raises ``FrameError`` above 16 MiB.
        """
        frame = body_frame(message)
        if len(frame.payload) < MIN_COMPRESSED_SIZE:
            return (encode_frame(frame),)
        deflated = compress(frame.payload) if may_compress else None
        if deflated is not None:
            frame = Frame(frame.kind, deflated, _COMPRESSED)
        frames = tuple(map(encode_frame, cut(frame, self._number)))
        if len(frames) > 1:
            self._number = (self._number + 1) % _NUMBERS
        return frames


class Unpacker:
    """Turns the frames of one peer into messages."""

    def __init__(self) -> None:
        self.assembler = Assembler()

    def unpack(self, frame: Frame, stream: int, now: float) -> Message | None:
        """The message that ``frame`` completes, if it does.

        Raises ``FrameError`` for an unknown type or flag, a body that does not have the fields of
        its type, and what breaks a rule or a bound of compression and fragments.
        """
        if not frame.flags:
            return decode_message(frame)
        if frame.flags & ~_KNOWN_FLAGS:
            raise FrameError(ErrorCode.MALFORMED, f"flags 0x{frame.flags:04x} are not in use")
        whole: Frame | None = frame
        if frame.flags & _FRAGMENTED:
            whole = self.assembler.take(frame, stream, now)
        if whole is None:
            return None
        if whole.flags & _COMPRESSED:
            whole = Frame(whole.kind, inflate(whole.payload))
        return decode_message(whole)
