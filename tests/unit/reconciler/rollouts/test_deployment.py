"""What is remembered of a rollout: it survives as JSON, and nothing else is taken for it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maculaos.errors import UsageError
from reconciler.rollouts.deployment import (
    Deployment,
    Mode,
    Placed,
    Rejection,
    Rollout,
    decode_deployment,
    encode_deployment,
)
from reconciler.rollouts.instances import Colour

seconds = st.floats(0, 1e12)
digests = st.text(min_size=1, max_size=128)
reasons = st.text(max_size=300)
placed = st.builds(
    Placed,
    colour=st.sampled_from(Colour),
    index=st.integers(1, 100),
    digest=digests,
    since=seconds,
    healthy_since=st.none() | seconds,
    is_proved=st.booleans(),
    draining_since=st.none() | seconds,
    run=st.text(max_size=200),
)
rollouts = st.builds(
    Rollout,
    target=digests,
    mode=st.sampled_from(Mode),
    progress_at=seconds,
    is_promoted=st.booleans(),
    is_waiting=st.booleans(),
    failure=reasons,
)
deployments = st.builds(
    Deployment,
    stable=st.none() | digests,
    live=st.sampled_from([Colour.BLUE, Colour.GREEN]),
    placed=st.lists(placed, max_size=5).map(tuple),
    rejected=st.lists(st.builds(Rejection, digest=digests, reason=reasons), max_size=4).map(tuple),
    rollout=st.none() | rollouts,
    is_paused=st.booleans(),
    age_s=seconds,
    looked_at=st.none() | st.floats(-1e12, 1e12),
)


@given(deployments)
def test_a_deployment_survives_its_codec(deployment: Deployment) -> None:
    assert decode_deployment(encode_deployment(deployment)) == deployment


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b'{"version": 2}',
        b'{"version": 1, "age_s": -1}',
        b'{"version": 1, "age_s": NaN}',
        b'{"version": 1, "live": "canary"}',
        b'{"version": 1, "surprise": 1}',
        b'{"version": 1, "placed": [{"colour": "blue", "index": 0, "digest": "A"}]}',
    ],
)
def test_what_is_no_deployment_is_refused_with_a_next_move(content: bytes) -> None:
    with pytest.raises(UsageError, match="move the file away"):
        decode_deployment(content)
