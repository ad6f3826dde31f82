"""Downloads from a real server that cuts, lies, stalls and ignores what it is asked."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import pytest

import smallrelease
from imagebuilder.release.download import Downloader, DownloadFailed
from imagebuilder.release.transport import HttpTransport
from maculaos.host.clock import FakeClock

if TYPE_CHECKING:
    from pathlib import Path

CONTENT = smallrelease.noise("download", 700_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


def fetch(shelf: Any, target: Path, **settings: Any) -> Path:
    downloader = Downloader(HttpTransport(silence_max_s=5), FakeClock(), **settings)
    return downloader.fetch(f"{shelf.url}/base.txz", target, SHA256)


@pytest.fixture(autouse=True)
def _filled(shelf: Any) -> None:
    shelf.files["/base.txz"] = CONTENT


def test_a_file_arrives_whole_and_alone(shelf: Any, tmp_path: Path) -> None:
    heard: list[tuple[str, int, int | None]] = []
    target = fetch(shelf, tmp_path / "new" / "base.txz", report=lambda *what: heard.append(what))
    assert target.read_bytes() == CONTENT
    assert list(target.parent.iterdir()) == [target]
    assert heard[-1] == ("base.txz", len(CONTENT), len(CONTENT))


def test_what_was_cut_is_resumed_where_it_ended(shelf: Any, tmp_path: Path) -> None:
    shelf.misdeeds = ["cut:300000", "cut:1000"]
    assert fetch(shelf, tmp_path / "base.txz").read_bytes() == CONTENT
    assert [asked for _, asked in shelf.asked] == ["", "bytes=300000-", "bytes=301000-"]


def test_a_later_run_takes_up_what_an_earlier_one_left(shelf: Any, tmp_path: Path) -> None:
    shelf.misdeeds = ["cut:500000"]
    with pytest.raises(DownloadFailed, match="cut short after 500000 of 700000 bytes"):
        fetch(shelf, tmp_path / "base.txz", attempts=1)
    assert not (tmp_path / "base.txz").exists()
    assert fetch(shelf, tmp_path / "base.txz").read_bytes() == CONTENT
    assert shelf.asked[-1] == ("/base.txz", "bytes=500000-")


def test_a_server_that_ignores_ranges_is_read_from_the_start(shelf: Any, tmp_path: Path) -> None:
    shelf.misdeeds = ["cut:300000", "ignore"]
    assert fetch(shelf, tmp_path / "base.txz").read_bytes() == CONTENT


def test_a_server_that_sends_another_range_is_asked_from_the_start(
    shelf: Any, tmp_path: Path
) -> None:
    shelf.misdeeds = ["cut:300000", "shift"]
    assert fetch(shelf, tmp_path / "base.txz").read_bytes() == CONTENT
    assert shelf.asked[-1] == ("/base.txz", "")


def test_a_server_that_stalls_is_left_and_asked_again(shelf: Any, tmp_path: Path) -> None:
    shelf.misdeeds = ["stall"]
    downloader = Downloader(HttpTransport(silence_max_s=0.2), FakeClock())
    target = downloader.fetch(f"{shelf.url}/base.txz", tmp_path / "base.txz", SHA256)
    assert target.read_bytes() == CONTENT
    assert shelf.asked[-1][1].startswith("bytes=")


def test_a_server_that_lies_is_not_believed(shelf: Any, tmp_path: Path) -> None:
    shelf.files["/base.txz"] = CONTENT[:-1] + b"x"
    with pytest.raises(DownloadFailed, match=f"wanted {SHA256}"):
        fetch(shelf, tmp_path / "base.txz")
    assert not list(tmp_path.iterdir())
    assert len(shelf.asked) == 1


def test_a_wrong_beginning_is_thrown_away_once(shelf: Any, tmp_path: Path) -> None:
    part = tmp_path / f"base.txz.{SHA256[:16]}.part"
    part.write_bytes(b"something else")
    assert fetch(shelf, tmp_path / "base.txz").read_bytes() == CONTENT
    assert [asked for _, asked in shelf.asked] == ["bytes=14-", ""]


def test_a_part_that_is_too_long_is_thrown_away(shelf: Any, tmp_path: Path) -> None:
    (tmp_path / f"base.txz.{SHA256[:16]}.part").write_bytes(CONTENT + b"more")
    assert fetch(shelf, tmp_path / "base.txz").read_bytes() == CONTENT


def test_a_part_that_is_whole_is_not_fetched_again(shelf: Any, tmp_path: Path) -> None:
    (tmp_path / f"base.txz.{SHA256[:16]}.part").write_bytes(CONTENT)
    assert fetch(shelf, tmp_path / "base.txz").read_bytes() == CONTENT
    assert not shelf.asked


def test_a_file_beyond_its_bound_is_given_up(shelf: Any, tmp_path: Path) -> None:
    downloader = Downloader(HttpTransport(5), FakeClock())
    with pytest.raises(DownloadFailed, match="larger than 1000 bytes"):
        downloader.fetch(f"{shelf.url}/base.txz", tmp_path / "base.txz", SHA256, bytes_max=1000)
    with pytest.raises(DownloadFailed, match="larger than 1000 bytes"):
        downloader.fetch_small(f"{shelf.url}/base.txz", 1000)


def test_a_file_that_never_ends_is_given_up_at_the_deadline(shelf: Any, tmp_path: Path) -> None:
    clock = FakeClock()
    downloader = Downloader(
        HttpTransport(5), clock, deadline_s=10, report=lambda *_: clock.sleep(6)
    )
    with pytest.raises(DownloadFailed, match="not here after 10 s"):
        downloader.fetch(f"{shelf.url}/base.txz", tmp_path / "base.txz", SHA256)


def test_what_is_not_there_is_asked_for_once(shelf: Any, tmp_path: Path) -> None:
    shelf.files.clear()
    with pytest.raises(DownloadFailed, match="404"):
        fetch(shelf, tmp_path / "base.txz")
    assert len(shelf.asked) == 1


def test_a_server_in_trouble_is_asked_again_a_bounded_number_of_times(
    shelf: Any, tmp_path: Path
) -> None:
    shelf.misdeeds = ["status:503"] * 10
    with pytest.raises(DownloadFailed, match="503"):
        fetch(shelf, tmp_path / "base.txz", attempts=3)
    assert len(shelf.asked) == 3


def test_a_redirect_stays_with_its_server_or_goes_to_https(shelf: Any, tmp_path: Path) -> None:
    shelf.files["/there"] = CONTENT
    shelf.misdeeds = ["to:/there"]
    assert fetch(shelf, tmp_path / "base.txz").read_bytes() == CONTENT
    for elsewhere in (f"http://localhost:{shelf.port}/there", "file:///etc/hosts", "ftp://x/y"):
        shelf.misdeeds = [f"to:{elsewhere}"]
        with pytest.raises(DownloadFailed, match=r"not https|not allowed"):
            fetch(shelf, tmp_path / "again")


def test_redirects_in_a_circle_end(shelf: Any, tmp_path: Path) -> None:
    shelf.misdeeds = ["to:/base.txz"] * 100
    with pytest.raises(DownloadFailed, match="redirect"):
        fetch(shelf, tmp_path / "base.txz", attempts=1)
    assert len(shelf.asked) < 10


def test_nobody_at_the_other_end_is_told_in_one_line(tmp_path: Path, shelf: Any) -> None:
    del shelf
    with pytest.raises(DownloadFailed, match=r"127\.0\.0\.1:1/.*refused") as caught:
        Downloader(HttpTransport(5), FakeClock()).fetch(
            "http://127.0.0.1:1/x", tmp_path / "x", SHA256
        )
    assert "\n" not in str(caught.value)


def test_other_schemes_are_not_spoken(tmp_path: Path) -> None:
    with pytest.raises(DownloadFailed, match="only http and https"):
        Downloader(HttpTransport(5), FakeClock()).fetch("file:///etc/hosts", tmp_path / "x", SHA256)


def test_a_small_file_that_was_cut_is_fetched_again(shelf: Any) -> None:
    shelf.files["/MANIFEST"] = b"0123456789"
    shelf.misdeeds = ["cut:4"]
    downloader = Downloader(HttpTransport(5), FakeClock())
    assert downloader.fetch_small(f"{shelf.url}/MANIFEST", 100) == b"0123456789"
