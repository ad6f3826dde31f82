"""The model answers the recorded sequences as the recorded machine did.

Compared are the lines of both outputs together, in any order, because a recording mixes them, and
the exit status where it was recorded. Made equal before: hardware addresses that FreeBSD drew
itself, process ids, and how much of a processor or of memory was in use. Left out are commands
that have nothing to do with jails, and ping, because no packet moves in the model.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from contract import recordings
from jails.freebsd.model import ModelHost

if TYPE_CHECKING:
    from jails.freebsd.model.answer import Answer

pytestmark = pytest.mark.contract

# Where the recorded shell kept what it fed to jail(8); in the model, not on this machine.
SCRATCH = "/tmp"  # noqa: S108
FSTAB = f"{SCRATCH}/fstab"
DRAWN = (
    (re.compile(r"(02|58):(?!00:00:aa)([0-9a-f]{2}:){4}[0-9a-f]{2}"), "<mac>"),
    (re.compile(r"^ *(778|779|780|786)\b", re.MULTILINE), "<pid>"),
    (re.compile(r"\b(778|779|780|786)\b"), "<pid>"),
    (re.compile(r"^(pcpu|memoryuse|vmemoryuse)=\d+$", re.MULTILINE), r"\1=<used>"),
    # jls pads its JSON with blanks in lists only.
    (re.compile(r"(?<=[,:]) "), ""),
)
NOT_OF_JAILS = (
    *("df", "sockstat", "service", "kenv", "gpart", "geom", "diskinfo", "glabel", "ls", "pw", "id"),
    *("uname", "freebsd-version", "date", "ntpq", "logger", "tail", "growfs", "tunefs", "sync"),
    *("sha256", "dd", "ping"),
)
# The rest that is not compared, by its whole text, with the reason.
UNCOMPARED = {
    "jexec node1 ping -c 2 10.77.0.1": "no packet moves in the model",
    "jls -n -j node1": "the kernel's sixty parameters; what matters of them is in the JSON forms",
    "jls -s -j node1": "as before",
    "pfctl -s info | head -5": "counters of packets",
    "ps ax | grep -c [s]leep 600": "the processes of the machine itself are not in the model",
    "mount -u -o ro /cfg": "no jail has a hand in it",
    "mount -u -o rw /cfg": "no jail has a hand in it",
    "mount /data": "no jail has a hand in it",
    "mount | grep data": "how the data partition is journaled is no jail's business",
    "mount | grep cfg": "as before",
    "umount /data": "no jail has a hand in it",
    "jexec web pgrep -x sleep": "the shell kept the answer as an argument of kill",
    "cat /var/log/jail_web.log": "the model keeps no console log",
}
MACHINE_FACTS = "kern.ostype"  # the sysctl that asks for facts of the processor


def machine(slot: str = "A") -> ModelHost:
    host = ModelHost()
    host.mounts.table[0] = type(host.mounts.table[0])(
        source=f"/dev/gpt/slot{slot}", path="/", kind="ufs", options=("ro",)
    )
    return host


def is_compared(each: recordings.Recorded) -> bool:
    text = " ".join((*each.argv, *(("|", *each.filtered_by) if each.filtered_by else ())))
    if each.argv[0] in NOT_OF_JAILS or each.argv[1:2] == (MACHINE_FACTS,):
        return False
    reason = UNCOMPARED.get(text)
    # "jls -n -j" of an unknown jail is compared, like every refusal.
    return not reason or bool(each.stderr)


def normal(text: str) -> list[str]:
    for pattern, instead in DRAWN:
        text = pattern.sub(instead, text)
    return sorted(" ".join(line.split()) for line in text.splitlines())


def filtered(text: str, filtered_by: tuple[str, ...]) -> str:
    if not filtered_by:
        return text
    pattern = re.compile(filtered_by[-1])
    kept = [line for line in text.splitlines(keepends=True) if pattern.search(line)]
    return f"{len(kept)}\n" if "-c" in filtered_by else "".join(kept)


class Replay:
    """Feeds a recording to the model; files that the shell wrote unseen are put in place."""

    def __init__(self, host: ModelHost, recording: str, *confs: str) -> None:
        self.host = host
        self.steps = recordings.load(recording)
        for conf in confs:
            target = conf.replace("-without-persist", "")
            host.files.write(f"{SCRATCH}/{target}", recordings.configuration(conf).encode())
        self.said = b""
        self.compared = 0

    def run(self) -> None:
        for each in self.steps:
            text = " ".join(each.argv[1:])
            if each.argv[0] == "printf":
                self.said = each.argv[1].encode().decode("unicode_escape").encode()
            elif each.argv[0] == "echo":
                self._append_fstab(text)
            elif each.argv != ("cat",) and is_compared(each):
                self._compare(each)

    def _append_fstab(self, line: str) -> None:
        before = self.host.files.read(FSTAB) or b""
        if " nullfs " in line:
            self.host.files.write(FSTAB, before + f"{line}\n".encode())

    def _compare(self, each: recordings.Recorded) -> None:
        if each.argv[0] == "jail" and each.argv[2] in (f"{SCRATCH}/x.conf", f"{SCRATCH}/bad.conf"):
            self.host.files.write(each.argv[2], self.said)
        argv = tuple(self._word(word) for word in each.argv)
        answer: Answer = self.host.answer(*argv, stdin=self.said)
        got = filtered(answer.stdout + answer.stderr, each.filtered_by)
        assert normal(got) == normal(each.stdout + each.stderr), each.argv
        if each.status is not None:
            assert answer.status == each.status, each.argv
        self.compared += 1

    def _word(self, word: str) -> str:
        """The child's process id is the model's own."""
        children = [p.pid for p in self.host.processes.alive.values() if p.parent != 1]
        return str(children[0]) if word == "779" and children else word


def test_a_jail_with_its_own_stack_lives_and_goes_as_recorded() -> None:
    host = machine()
    host.jails.next_jid = 3
    # It was recorded later in the same boot than the failing one.
    host.tunables.values["net.inet.udp.recvspace"] = "262144"
    host.tunables.values["kern.ipc.maxsockbuf"] = "16777216"
    replay = Replay(host, "vnet-jail", "node1.conf")
    replay.run()
    assert replay.compared == 49


def test_a_start_that_fails_leaves_what_was_recorded() -> None:
    replay = Replay(machine(), "vnet-jail-failing", "node1.conf")
    replay.run()
    assert replay.compared == 51


def test_wrong_files_names_and_rules_are_refused_as_recorded() -> None:
    replay = Replay(machine("B"), "host", "web-without-persist.conf")
    replay.run()
    assert replay.compared == 60


def test_a_supervised_jail_with_a_shared_address_does_as_recorded() -> None:
    replay = Replay(machine(), "disk-and-supervised-jail", "web.conf")
    replay.run()
    assert replay.compared == 30


def test_an_answer_that_differs_is_noticed() -> None:
    host = machine()
    host.jails.next_jid = 4
    with pytest.raises(AssertionError, match="jls"):
        Replay(host, "vnet-jail", "node1.conf").run()
