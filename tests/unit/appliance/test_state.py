"""The record: any damage to one file leaves the other, and no content whatever is an error."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.slots import Slot
from appliance.state import LOST, Bundle, Phase, State, StateFile, choose, decode, encode

if TYPE_CHECKING:
    from pathlib import Path

BUNDLE = Bundle(digest="00", name="n", version="2", created="c", slot_bytes=512, slot_sha256="11")
FIRST = State(phase=Phase.WRITING, slot=Slot.B, bundle=BUNDLE, spoiled=(Slot.B,))
SECOND = State(phase=Phase.ARMED, slot=Slot.B, bundle=BUNDLE, contents={Slot.B: BUNDLE})


def test_state_survives_its_file() -> None:
    assert [decode(encode(state)) for state in (State(), FIRST, SECOND)] == [State(), FIRST, SECOND]


@given(data=st.data())
def test_any_change_of_the_file_is_noticed(data: st.DataObject) -> None:
    content = bytearray(encode(SECOND).strip())
    where = data.draw(st.integers(0, len(content) - 1))
    content[where] ^= data.draw(st.integers(1, 255))
    assert decode(bytes(content)) in (None, SECOND)
    assert choose(bytes(content), encode(FIRST)) in (FIRST, SECOND)


@given(size=st.integers(0, len(encode(SECOND)) - 2))
def test_torn_file_gives_the_state_before_it(size: int) -> None:
    assert choose(encode(SECOND)[:size], encode(FIRST)) == FIRST


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_rubbish_is_a_lost_state_and_never_an_error(current: bytes, previous: bytes) -> None:
    assert choose(current, previous) == LOST


def test_update_without_a_slot_is_not_read() -> None:
    broken = encode(FIRST).replace(b'"slot":"B"', b'"slot":null')
    assert decode(broken) is None
    with pytest.raises(ValueError, match="slot"):
        State(phase=Phase.TRIAL)


def test_file_keeps_the_state_before_and_is_for_its_owner_alone(tmp_path: Path) -> None:
    file = StateFile(tmp_path / "update")
    assert file.load() == State()
    file.save(FIRST)
    file.save(SECOND)
    assert file.load() == SECOND
    current = tmp_path / "update/state.json"
    assert current.stat().st_mode & 0o777 == 0o600
    current.write_bytes(b"")
    assert file.load() == FIRST
    # A broken file never takes the place of the good one before it.
    file.save(SECOND)
    current.write_bytes(b"\0" * 100)
    assert file.load() == FIRST
    assert sorted(each.name for each in current.parent.iterdir()) == [
        "state.json",
        "state.previous.json",
    ]
