"""What Git's programs are told, and what of their answers is passed back."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.hosting.backend import HostingLimits, cgi_environment, git_environment, parse_cgi
from reconciler.hosting.requests import GitRequest, Service
from reconciler.web.exchange import Request

LIMITS = HostingLimits(push_bytes=1000)


def test_limits_reach_git_as_configuration() -> None:
    said = git_environment("/bin", Path("/home"), LIMITS, may_write=False)
    count = int(said["GIT_CONFIG_COUNT"])
    found = {said[f"GIT_CONFIG_KEY_{n}"]: said[f"GIT_CONFIG_VALUE_{n}"] for n in range(count)}
    assert found["receive.maxInputSize"] == "1000"
    assert found["receive.denyNonFastForwards"] == "true"
    assert found["core.hooksPath"] == "/dev/null"
    assert found["http.receivepack"] == "false"


@given(st.dictionaries(st.sampled_from(["git-protocol", "x", "content-encoding"]), st.text()))
def test_no_header_reaches_git_but_those_it_knows(headers: dict[str, str]) -> None:
    request = Request(method="POST", target="/a.git/git-upload-pack", headers=headers)
    said = cgi_environment(Path("/r"), request, GitRequest("a", Service.READ), "")
    assert said["PATH_INFO"] == "/a.git/git-upload-pack"
    assert said.get("GIT_PROTOCOL", "version=2") in {"version=0", "version=1", "version=2"}
    assert set(said.get("HTTP_CONTENT_ENCODING", "gzip")) == set("gzip")


def test_a_cgi_answer_is_taken_apart() -> None:
    said = b"Status: 403 Forbidden\r\nContent-Type: text/plain\r\nX-Own: 1\r\n\r\nno\r\n\r\n"
    assert parse_cgi(said) == (403, [("content-type", "text/plain")], b"no\r\n\r\n")
    assert parse_cgi(b"Content-Type: a/b\r\n\r\n")[0] == 200


@pytest.mark.parametrize("said", [b"", b"Status: 200", b"Status: x\r\n\r\n", b"Status: 99\r\n\r\n"])
def test_what_is_no_cgi_answer_is_refused(said: bytes) -> None:
    with pytest.raises(ValueError, match="no "):
        parse_cgi(said)
