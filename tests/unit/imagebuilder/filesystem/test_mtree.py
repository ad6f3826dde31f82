"""mtree text: what is written can be read, and names cannot break out of their line."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagebuilder.entries import Entry, Kind
from imagebuilder.filesystem.mtree import (
    InvalidSpec,
    escape,
    read_spec,
    unescape,
    write_spec,
)

METALOG = """\
#mtree 2.0
. type=dir uname=root gname=wheel mode=0755
./bin type=dir uname=root gname=wheel mode=0755 tags=package=runtime
./bin/sh type=file uname=root gname=wheel mode=0555 size=12 sha256digest=ab tags=package=runtime
./bin/sh type=file uname=root gname=wheel mode=0755 flags=schg
./sbin/init type=file uname=root gname=wheel mode=0555 flags=none contents=./new/init
./tmp type=dir \\
    uname=root gname=wheel mode=1777
./sys type=link uname=root gname=wheel mode=0777 link=usr/src/sys
"""

NAMES = st.text(min_size=1, max_size=12).filter(
    lambda text: text not in (".", "..") and not {"/", "\0"} & set(text)
)
# Bytes that are no UTF-8 too.
ANY_NAMES = NAMES | st.just("caf\udce9")
WORDS = st.text("abcdefghij_-0123456789", min_size=1, max_size=8)
MODES = st.integers(0, 0o7777)


@st.composite
def entries(draw: st.DrawFn) -> Entry:
    kind = draw(st.sampled_from(Kind))
    path = "/".join(draw(st.lists(ANY_NAMES, min_size=1, max_size=3)))
    return Entry(
        path=path,
        kind=kind,
        mode=draw(MODES),
        owner=draw(WORDS),
        group=draw(WORDS),
        flags=tuple(draw(st.lists(st.sampled_from(["schg", "uarch", "sunlnk"]), unique=True))),
        target=draw(ANY_NAMES) if kind is Kind.SYMLINK else "",
        source=Path("/stage") / path if kind is Kind.FILE else None,
    )


@given(st.lists(entries(), max_size=5, unique_by=lambda entry: entry.path))
def test_what_is_written_is_read_back(written: list[Entry]) -> None:
    assert read_spec(write_spec(written, 1), Path("/stage")) == written


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30))
def test_names_are_single_words_of_ascii(text: str) -> None:
    escaped = escape(text)
    assert escaped.isascii()
    assert escaped == "" or escaped.split() == [escaped]
    assert "#" not in escaped
    assert unescape(escaped) == text


def test_a_metalog_is_read() -> None:
    found = {entry.path: entry for entry in read_spec(METALOG, Path("/world"))}
    assert list(found) == ["", "bin", "bin/sh", "sbin/init", "tmp", "sys"]
    assert (found["bin/sh"].mode, found["bin/sh"].flags) == (0o755, ("schg",))
    assert found["bin/sh"].source == Path("/world/bin/sh")
    assert found["sbin/init"].source == Path("/world/new/init")
    assert found["sbin/init"].flags == ()
    assert found["tmp"].mode == 0o1777
    assert found["sys"].target == "usr/src/sys"


def test_defaults_hold_until_they_are_taken_back() -> None:
    text = "/set type=file uname=daemon mode=0600\n./a\n/unset uname\n./b mode=0644\n"
    first, second = read_spec(text)
    assert (first.owner, first.mode) == ("daemon", 0o600)
    assert (second.owner, second.mode) == ("root", 0o644)


@pytest.mark.parametrize(
    "line",
    [
        "./a type=fifo mode=0644",
        "./a mode=0644",
        "./a type=file",
        "./a type=file mode=999",
        "./a type=file mode=77777",
        "./a type=link mode=0755",
        "a type=file mode=0644",
        "./../a type=file mode=0644",
        "./a/../../b type=file mode=0644",
        "./\\056\\056/a type=file mode=0644",
        "./a type=file mode=0644 contents=./../../etc/shadow",
    ],
)
def test_a_line_that_cannot_be_is_refused_with_its_number(line: str) -> None:
    with pytest.raises(InvalidSpec, match=r"^line 2: "):
        read_spec(f"#mtree\n{line}\n", Path("/stage"))


def test_the_tool_itself_reads_what_is_written(tmp_path: Path) -> None:
    mtree = shutil.which("mtree")
    if mtree is None:
        pytest.skip("mtree (Debian: mtree-netbsd) is not installed")
    owner, group = tmp_path.owner(), tmp_path.group()
    (tmp_path / "a name # and [more]").mkdir(mode=0o755)
    (tmp_path / "a name # and [more]" / "file").write_bytes(b"x")
    (tmp_path / "a name # and [more]" / "file").chmod(0o640)
    (tmp_path / "link").symlink_to("to a\tplace")
    paths = {"": Kind.FOLDER, "a name # and [more]": Kind.FOLDER, "link": Kind.SYMLINK}
    paths["a name # and [more]/file"] = Kind.FILE
    # What lies deepest first: making an entry changes the time of the folder above.
    for path in sorted(paths, reverse=True):
        os.utime(tmp_path / path, (1, 1), follow_symlinks=False)
    spec = write_spec(
        [
            Entry(
                path=path,
                kind=kind,
                mode=(tmp_path / path).lstat().st_mode & 0o7777,
                owner=owner,
                group=group,
                target="to a\tplace" if kind is Kind.SYMLINK else "",
            )
            for path, kind in paths.items()
        ],
        1,
    )
    words = [mtree, "-p", str(tmp_path)]
    right = subprocess.run(words, input=spec, capture_output=True, text=True, check=False)
    assert (right.returncode, right.stdout) == (0, "")
    wrong = subprocess.run(
        words, input=spec.replace("0640", "0644"), capture_output=True, text=True, check=False
    )
    assert wrong.returncode != 0
