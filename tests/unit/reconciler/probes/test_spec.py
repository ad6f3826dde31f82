"""The health of an app in its spec: what may be asked, and slips that are named."""

from __future__ import annotations

import pytest

from maculaos.documents import InvalidDocument, read_document
from reconciler.probes.spec import ExecProbe, Health, HttpProbe, MeshProbe


def test_each_kind_of_probe_can_be_written_with_its_own_rhythm() -> None:
    text = b"""
http: {port: 8080, path: "/health?deep=1", status: 204, headers: {X-Probe: "yes"}, failures: 5}
tcp: {port: 9000, host: "::1"}
exec: {command: [/bin/check, now], interval_s: 60, timeout_s: 30}
mesh: {method: shop.ping}
"""
    health = read_document(text, "apps/a.yaml", Health).value
    assert [*health.probes()] == ["http", "tcp", "exec", "mesh"]
    assert health.http == HttpProbe(
        port=8080, path="/health?deep=1", status=204, headers={"X-Probe": "yes"}, failures=5
    )
    assert health.exec == ExecProbe(command=("/bin/check", "now"), interval_s=60.0, timeout_s=30.0)
    assert health.mesh == MeshProbe(method="shop.ping")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{}", "at least one of http, tcp, exec and mesh"),
        ("http: {port: 0}", "1 or more"),
        ("http: {port: 80, path: health}", "must start with /"),
        ('http: {port: 80, path: "/a b"}', "no spaces"),
        ('http: {port: 80, path: "/a\\r\\nHost: b"}', "no spaces or control characters"),
        ('http: {port: 80, headers: {"a b": "c"}}', "cannot name a header"),
        ('http: {port: 80, headers: {A: "b\\r\\nC: d"}}', "one line of printable ASCII"),
        ('http: {port: 80, headers: {Connection: "close"}}', "set by the probe itself"),
        ("http: {port: 80, host: example.org}", "is not an IP address"),
        ("http: {port: 80, status: 99}", "100 or more"),
        ("tcp: {port: 80, interval_s: 1, timeout_s: 2}", "timeout_s must not be above"),
        ("exec: {command: []}", "must start with the name of a program"),
        ("mesh: {}", "needs either member or method"),
        ("mesh: {member: n1, method: a}", "needs either member or method"),
        ("mesh: {method: a, interval_s: 1, timeout_s: 2}", "timeout_s must not be above"),
        ("htpt: {port: 80}", "did you mean 'http'"),
    ],
)
def test_what_makes_no_sense_is_refused(text: str, said: str) -> None:
    with pytest.raises(InvalidDocument, match=said):
        read_document(text.encode(), "apps/a.yaml", Health)
