"""Peers remembered on disk."""

from __future__ import annotations

import shutil
import stat
from typing import TYPE_CHECKING

import pytest

from discovering import Heard, bounded, identity, running, seeking, surroundings
from maculaos.discovery.memory import decode
from maculaos.discovery.methods.remembered import Method, file_of
from maculaos.discovery.settings import RememberedSettings

if TYPE_CHECKING:
    from pathlib import Path

QUICK = RememberedSettings(settle_s=0.01)


def test_a_peer_once_linked_is_found_after_a_restart(tmp_path: Path) -> None:
    around = surroundings(folder=tmp_path, remembered=QUICK)

    async def first_life() -> None:
        async with seeking(Method(around)) as heard:
            await heard.until(lambda: heard.named == {"": ()})
            around.linked.up(1, identity("n2").node_id, ("10.0.0.2:4701", "0.0.0.0:1"))
            await heard.until(lambda: heard.named == {"": ("10.0.0.2:4701",)})
            # Linked when the node stops, which ends its links before it ends this.
            around.linked.up(2, identity("n3").node_id, ("10.0.0.3:4701",))
            around.linked.down(2)

    (tmp_path / ".n1.sock.peers.4711.0123abcd").write_bytes(b"half")
    bounded(first_life())
    file = tmp_path / "n1.sock.peers"
    assert file_of(around.settings) == file
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [each.name for each in tmp_path.iterdir()] == ["n1.sock.peers"]

    async def second_life() -> None:
        async with seeking(Method(surroundings(folder=tmp_path))) as heard:
            await heard.until(lambda: bool(heard.named))
            # The link with n2 was up to the end.
            assert heard.named == {"": ("10.0.0.2:4701", "10.0.0.3:4701")}

    bounded(second_life())


@pytest.mark.parametrize("content", [b"", b"\0" * 4096, b"[[[[", b'{"version": 1}'])
def test_garbage_is_replaced_by_what_is_known(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "n1.sock.peers"
    file.write_bytes(content)
    around = surroundings(folder=tmp_path, remembered=QUICK)

    async def main() -> None:
        async with seeking(Method(around)) as heard:
            await heard.until(lambda: heard.named == {"": ()})
            around.linked.up(1, identity("n2").node_id, ("10.0.0.2:4701",))
            await heard.until(lambda: heard.named == {"": ("10.0.0.2:4701",)})

    bounded(main())
    assert decode(file.read_bytes(), "home").addresses() == ("10.0.0.2:4701",)


def test_a_file_that_cannot_be_read_fails_the_method(tmp_path: Path) -> None:
    (tmp_path / "n1.sock.peers").mkdir()

    async def main() -> None:
        with pytest.raises(IsADirectoryError):
            await Method(surroundings(folder=tmp_path)).run(Heard())

    bounded(main())


def test_a_folder_that_is_gone_fails_the_method_when_there_is_something_to_write(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "var"
    folder.mkdir()
    around = surroundings(folder=folder, remembered=QUICK)

    async def main() -> None:
        heard = Heard()
        async with running(Method(around).run(heard)):
            await heard.until(lambda: bool(heard.named))
            shutil.rmtree(folder)
        around.linked.up(1, identity("n2").node_id, ("10.0.0.2:4701",))
        with pytest.raises(FileNotFoundError):
            await Method(around).run(heard)

    bounded(main())
