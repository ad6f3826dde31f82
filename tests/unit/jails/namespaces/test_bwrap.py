"""The sandbox's arguments: what is seen is named, and in an order that hides what must be."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from jails.namespaces.bwrap import Bind, Link, Rights, View, bwrap_argv

VIEW = View(
    system=(Bind("/usr", "/usr"), Link("usr/bin", "/bin"), Bind("/etc", "/etc")),
    hidden_files=("/etc/shadow",),
    hidden_folders=("/etc/ssh",),
    data="/jails/n1/data",
    mounts=(Bind("/run/x", "/sockets", is_writable=True), Bind("/srv", "/srv")),
    scratch_bytes=1024,
)
ROOT = Rights(is_root=True, capabilities=("CAP_NET_BIND_SERVICE",))
WORDS = st.lists(st.text(max_size=8).filter(lambda text: "\0" not in text), min_size=1, max_size=5)


def argv(view: View = VIEW, rights: Rights = ROOT) -> tuple[str, ...]:
    return bwrap_argv("/usr/bin/bwrap", "n1", view, rights, ("program", "--word"))


def place(words: tuple[str, ...], *wanted: str) -> int:
    """Where these words stand, one after another."""
    width = len(wanted)
    (found,) = [i for i in range(len(words)) if words[i : i + width] == wanted]
    return found


def test_the_root_folder_becomes_read_only_after_everything_is_in_it() -> None:
    words = argv()
    last = place(words, "--remount-ro", "/")
    for entry in (("--ro-bind", "/usr", "/usr"), ("--bind", "/jails/n1/data", "/data")):
        assert place(words, *entry) < last
    assert place(words, "--bind", "/run/x", "/sockets") < last
    assert place(words, "--ro-bind", "/srv", "/srv") < last


def test_every_account_can_pass_through_the_folders_above_what_is_shown() -> None:
    deep = (Bind("/root/py/lib", "/root/py/lib"), Bind("/root/py/bin", "/root/py/bin"))
    words = argv(View(system=deep, data="/d", scratch_bytes=1))
    outer = place(words, "--perms", "0755", "--dir", "/root")
    inner = place(words, "--perms", "0755", "--dir", "/root/py")
    assert outer < inner < place(words, "--ro-bind", "/root/py/lib", "/root/py/lib")


def test_secrets_are_hidden_after_the_folder_that_holds_them_is_shown() -> None:
    words = argv()
    shown = place(words, "--ro-bind", "/etc", "/etc")
    assert shown < place(words, "--ro-bind", "/dev/null", "/etc/shadow")
    assert shown < place(words, "--tmpfs", "/etc/ssh")


def test_only_the_system_of_a_thick_root_is_writable() -> None:
    thick = View(system=(Bind("/base", "/", is_writable=True),), data="/d", scratch_bytes=1)
    words = argv(thick)
    assert ("--remount-ro", "/") not in pairwise(words)
    assert place(words, "--bind", "/base", "/") < words.index("--tmpfs")


def test_kernel_and_devices_become_read_only_after_they_are_there() -> None:
    words = argv()
    assert place(words, "--proc", "/proc") < place(words, "--remount-ro", "/proc")
    shared = place(words, "--size", "1024", "--tmpfs", "/dev/shm")  # noqa: S108  # of the jail
    assert place(words, "--dev", "/dev") < shared < place(words, "--remount-ro", "/dev")


def test_root_keeps_no_capability_but_those_that_are_named() -> None:
    words = argv()
    assert place(words, "--cap-drop", "ALL") < place(words, "--cap-add", "CAP_NET_BIND_SERVICE")
    assert "--cap-add" not in argv(rights=Rights(is_root=False, capabilities=("CAP_CHOWN",)))


@given(WORDS)
def test_the_command_comes_last_and_whole(command: list[str]) -> None:
    words = bwrap_argv("bwrap", "n1", VIEW, ROOT, tuple(command))
    end = words.index("--")
    assert list(words[end + 1 :]) == command


def test_the_program_stays_in_the_session_of_its_keeper() -> None:
    assert not {"--new-session", "--die-with-parent", "--as-pid-1"} & set(argv())
