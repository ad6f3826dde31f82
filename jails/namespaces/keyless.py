"""``python -m jails.namespaces.keyless COMMAND...``: become a command that has no keyrings.

The kernel gives keyrings (keyrings(7)) to numbers of users, whatever namespace they are in, and a
session's to all that the session starts: a program in a jail would read the keys of who made it.
So the calls for them are refused, for the command and all that it starts, by a filter
(seccomp(2)). On a processor that is not in the list, nothing is refused.
"""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import stat
import struct
import sys
from typing import Final

# By architecture (linux/audit.h): the numbers of add_key(2), request_key(2) and keyctl(2).
CALLS: Final = {
    0xC000003E: (248, 249, 250),  # x86-64
    0x40000003: (286, 287, 288),  # i386
    0xC00000B7: (217, 218, 219),  # AArch64
    0x40000028: (309, 310, 311),  # ARM
    0xC00000F3: (217, 218, 219),  # RISC-V
}
# Set in the numbers of x32, which has the architecture of x86-64.
_X32: Final = 0x40000000
_PR_SET_SECCOMP, _MODE_FILTER = 22, 2
_PR_SET_NO_NEW_PRIVS = 38
# linux/bpf_common.h and linux/seccomp.h.
_LOAD, _IF_EQUAL, _AND, _ANSWER = 0x20, 0x15, 0x54, 0x06
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000 | errno.ENOSYS
_NUMBER_AT, _ARCHITECTURE_AT = 0, 4


class _Program(ctypes.Structure):
    """``struct sock_fprog``."""

    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def argv() -> tuple[str, ...]:
    """Words before a command that is to have no keyrings."""
    return (sys.executable, "-I", "-m", "jails.namespaces.keyless")


def instructions() -> tuple[tuple[int, int, int, int], ...]:
    """The filter: code, jump if true, jump if false, operand (linux/filter.h)."""
    code = [(_LOAD, 0, 0, _ARCHITECTURE_AT)]
    for architecture, numbers in CALLS.items():
        known = [
            (_LOAD, 0, 0, _NUMBER_AT),
            (_AND, 0, 0, ~_X32 & 0xFFFFFFFF),
            *((_IF_EQUAL, len(numbers) - i, 0, number) for i, number in enumerate(numbers)),
            (_ANSWER, 0, 0, _ALLOW),
            (_ANSWER, 0, 0, _REFUSE),
        ]
        code += [(_IF_EQUAL, 0, len(known), architecture), *known]
    return (*code, (_ANSWER, 0, 0, _ALLOW))


def main() -> None:
    """Never returns; raises ``OSError`` if the filter is refused or the command is not there."""
    command = sys.argv[1:]
    if os.geteuid() == 0:
        _refuse_calls()
    elif not _is_setuid(command[0]):
        # Who is not root may filter only what can never become root.
        _prctl(_PR_SET_NO_NEW_PRIVS, 1)
        _refuse_calls()
    # S606: no shell is wanted.
    os.execvp(command[0], command)  # noqa: S606


def _refuse_calls() -> None:
    code = b"".join(struct.pack("=HBBI", *each) for each in instructions())
    program = _Program(len(code) // 8, code)
    _prctl(_PR_SET_SECCOMP, _MODE_FILTER, ctypes.byref(program))


def _prctl(option: int, *words: object) -> None:
    more = (*words, 0, 0, 0)[:4]
    if ctypes.CDLL(None, use_errno=True).prctl(option, *more) != 0:
        raise OSError(ctypes.get_errno(), "cannot refuse the calls for keyrings")


def _is_setuid(program: str) -> bool:
    found = shutil.which(program)
    return found is not None and bool(os.stat(found).st_mode & stat.S_ISUID)


if __name__ == "__main__":
    main()
