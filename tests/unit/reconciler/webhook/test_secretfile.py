"""The file of secrets: private, bounded, read again when it changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from maculaos.errors import UsageError
from reconciler.webhook.secretfile import SecretFile

if TYPE_CHECKING:
    from pathlib import Path

LONG = "s" * 32


def write(path: Path, text: str, mode: int = 0o600) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


def test_each_line_is_a_secret(tmp_path: Path) -> None:
    file = write(tmp_path / "secret", f"# old\n{LONG}\n\n{LONG}2\r\n")
    assert SecretFile(file).secrets() == (LONG.encode(), f"{LONG}2".encode())


def test_a_change_is_seen(tmp_path: Path) -> None:
    path = write(tmp_path / "secret", LONG)
    file = SecretFile(path)
    assert file.secrets() == (LONG.encode(),)
    write(path, f"{LONG}{LONG}")
    assert file.secrets() == (f"{LONG}{LONG}".encode(),)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666])
def test_what_others_may_read_is_no_secret(tmp_path: Path, mode: int) -> None:
    with pytest.raises(UsageError, match="chmod 600"):
        SecretFile(write(tmp_path / "secret", LONG, mode)).secrets()


def test_a_file_that_was_opened_to_others_is_believed_no_longer(tmp_path: Path) -> None:
    file = SecretFile(write(tmp_path / "secret", LONG))
    assert file.secrets()
    (tmp_path / "secret").chmod(0o644)
    for _ in range(2):
        with pytest.raises(UsageError, match="may be read"):
            file.secrets()


@pytest.mark.parametrize("text", ["", "\n#x\n", "short", f"{LONG}\n" * 9, "x" * 20_000])
def test_unfit_content_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(UsageError):
        SecretFile(write(tmp_path / "secret", text)).secrets()


def test_a_folder_or_nothing_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none"):
        with pytest.raises(UsageError):
            SecretFile(path).secrets()
