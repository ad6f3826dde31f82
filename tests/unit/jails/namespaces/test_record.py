"""What is on record of a jail's surroundings is read as it was written, or not at all."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jails.keeper.records import JailDirectory
from jails.namespaces.record import Record, delete_record, read_record, write_record
from jails.spec import Forward, Network, NetworkKind

NETWORKS = st.builds(
    Network,
    kind=st.sampled_from(NetworkKind),
    interface=st.text(),
    bridge=st.text(),
    address=st.text(),
    gateway=st.text(),
)
FORWARDS = st.builds(Forward, inner_port=st.none() | st.integers(1, 65535))
RECORDS = st.builds(
    Record,
    network=NETWORKS,
    forwards=st.lists(FORWARDS, max_size=3).map(tuple),
    folders=st.lists(st.tuples(st.text(), st.text()), max_size=3).map(tuple),
    release=st.lists(st.lists(st.text()).map(tuple), max_size=3).map(tuple),
)


@given(RECORDS)
def test_a_record_is_read_as_it_was_written(record: Record) -> None:
    with tempfile.TemporaryDirectory() as folder:
        directory = JailDirectory(Path(folder))
        write_record(directory, record)
        assert read_record(directory) == record
        delete_record(directory)
        assert read_record(directory) is None
        assert list(Path(folder).iterdir()) == []


@pytest.mark.parametrize(
    "said",
    [
        {},
        [],
        {"network": {"kind": "none"}, "forwards": [], "folders": [], "release": []},
        {"network": {"kind": "vnet", "more": 1}, "forwards": [], "folders": [], "release": []},
        {"bridge": "br0", "address": "10.0.0.1/24", "has_table": True, "release": []},
    ],
)
def test_what_has_another_form_is_no_record(tmp_path: Path, said: object) -> None:
    directory = JailDirectory(tmp_path)
    write_record(directory, Record())
    (file,) = tmp_path.iterdir()
    file.write_text(json.dumps(said))
    assert read_record(directory) is None
