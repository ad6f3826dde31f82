"""Facts of the machine and the past of rollouts become a fleet; nothing is written anywhere."""

from __future__ import annotations

import json
from dataclasses import replace
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any, cast

from jails.spec import JailFacts, JailState
from reconciler.fleet import Member, fleet_of
from reconciler.passage import Look, Opinion, Passage, pass_over, run_of, trouble
from reconciler.placement import OwnNetwork, Placement
from reconciler.ports.spec import PortSpec
from reconciler.probes.spec import Health, TcpProbe
from reconciler.render import MachinePaths, render_member
from reconciler.rollouts.decision import Order, Word
from reconciler.rollouts.deployment import Deployment, Phase, Rejection
from reconciler.rollouts.instances import FIRST, Colour, Instance
from reconciler.rollouts.spec import Strategy
from reconciler.specs.desired import Desired
from reconciler.specs.items import Item, decode_item, encode_item, made_item, version_of
from reconciler.specs.spec import AppSpec, RealmSpec
from reconciler.traffic import Traffic, traffic_of

MACHINE = MachinePaths(
    macula=("/bin/macula",), credentials_dir=Path("/credentials"), run_dir=Path("/run/macula")
)
BLUE_2 = Instance(Colour.BLUE, 2)


def item(version: str = "v1", name: str = "shop", **said: Any) -> Item:
    spec = AppSpec(version=1, name=name, node="n1", command=("/bin/run", version), **said)
    return made_item(spec, "demo")


def facts(of: Item, instance: Instance = FIRST, **said: Any) -> tuple[str, JailFacts]:
    made = render_member(Member(instance, cast("AppSpec", of.spec)), "demo", MACHINE)
    known = {"state": JailState.RUNNING, "program_digest": made.program_digest(), "pid": 7, **said}
    return made.name, JailFacts(name=made.name, **known)


def passed(
    wanted: Item, *found: tuple[str, JailFacts], kept: tuple[Item, ...] = (), **said: Any
) -> Passage:
    versions = {version_of(each): each for each in (*kept, wanted)}
    known = {"deployments": {}, "now": 100.0, **said}
    look = Look(found=dict(found), versions=versions, machine=MACHINE, **known)
    return pass_over({wanted.name: wanted}, {wanted.name: version_of(wanted)}, look)


def commands(passage: Passage) -> dict[str, str]:
    return {jail: member.app.command[-1] for jail, member in passage.fleet.items()}


def stable(of: Item, **said: Any) -> Deployment:
    first = passed(of, facts(of)).decisions["shop"].deployment
    return replace(first, stable=version_of(of), rollout=None, looked_at=None, **said)


def test_version_leaves_out_how_an_app_is_called_counted_replaced_and_judged() -> None:
    plain = item()
    other = item(name="store", instances=3, strategy=Strategy(kind="restart"), depends_on=("db",))
    assert version_of(plain) == version_of(other)
    assert version_of(plain) != version_of(item("v2"))
    assert version_of(decode_item(encode_item(other))) == version_of(other)


def test_app_of_which_nothing_is_there_starts_with_what_is_wanted_everywhere() -> None:
    passage = passed(item(instances=2))
    assert commands(passage) == {"app-shop": "v1", "a2-shop": "v1"}
    assert not passage.lagging


def test_what_runs_is_told_by_what_it_would_be_started_from() -> None:
    old, new = item("v1"), item("v2")
    passage = passed(new, facts(old), kept=(old,), deployments={"shop": stable(old)})
    assert commands(passage) == {"app-shop": "v2"}
    assert {version_of(old), version_of(new)} == passage.named()
    assert not passage.lagging
    assert not passage.serving["shop"]


def test_rolling_rollout_lags_while_siblings_run_the_old_version() -> None:
    old, new = item("v1", instances=2), item("v2", instances=2)
    found = (facts(old), facts(old, BLUE_2))
    first = passed(old, *found).decisions["shop"].deployment
    before = replace(first, stable=version_of(old), rollout=None, looked_at=None)
    passage = passed(new, *found, kept=(old,), deployments={"shop": before})
    assert sorted(commands(passage).values()) == ["v1", "v2"]
    assert passage.lagging == {"shop"}
    assert len(passage.serving["shop"]) == 1


def test_version_that_was_given_up_is_not_tried_and_is_a_trouble() -> None:
    old, new = item("v1"), item("v2")
    given_up = (Rejection(digest=version_of(new), reason="blue 1 ended for good"),)
    before = stable(old, rejected=given_up)
    passage = passed(new, facts(old), kept=(old,), deployments={"shop": before})
    assert commands(passage) == {"app-shop": "v1"}
    assert passage.standings()["shop"].phase is Phase.REVERTED
    assert trouble(passage.standings())["shop"].startswith("rolled back: ")


def test_no_deadline_passes_while_the_new_version_could_not_even_be_started() -> None:
    old, new = item("v1"), item("v2")
    known, now = {"shop": stable(old)}, 100.0
    for _ in range(200):
        passage = passed(new, facts(old), kept=(old,), deployments=known, now=now)
        known, now = {"shop": passage.decisions["shop"].deployment}, now + 10
    assert commands(passage) == {"app-shop": "v2"}
    for _ in range(200):
        crashed = facts(new, state=JailState.BACKING_OFF)
        passage = passed(new, crashed, kept=(old,), deployments=known, now=now)
        known, now = {"shop": passage.decisions["shop"].deployment}, now + 10
    assert commands(passage) == {"app-shop": "v1"}


def test_stable_version_that_was_lost_is_not_gone_back_to() -> None:
    old, new = item("v1"), item("v2")
    passage = passed(new, facts(old), deployments={"shop": stable(old)})
    assert passage.decisions["shop"].deployment.stable is None
    assert commands(passage) == {"app-shop": "v2"}


def test_jail_with_a_version_that_nobody_knows_is_left_while_it_is_not_replaced() -> None:
    wanted = item("v2", strategy=Strategy(kind="blue-green"))
    unknown = facts(wanted, program_digest="something else")
    passage = passed(wanted, unknown)
    assert passage.adrift == {"app-shop"}
    assert commands(passage) == {"g1-shop": "v2"}


def test_renamed_app_takes_its_rollout_along() -> None:
    old, new = item("v1", name="shop"), item("v1", name="store")
    jail, found = facts(old)
    look = Look(
        found={jail: found},
        deployments={"shop": stable(old)},
        versions={version_of(old): old},
        machine=MACHINE,
        now=100.0,
        moves={"store": "shop"},
    )
    passage = pass_over({"store": new}, {"store": version_of(new)}, look)
    assert passage.decisions["store"].deployment.stable == version_of(old)
    assert list(passage.fleet) == ["app-store"]


def test_program_that_was_done_with_status_0_is_well() -> None:
    done = facts(item(), state=JailState.FAILED, last_exit="exited with status 0", pid=None)
    assert passed(item(), done).serving["shop"] == (FIRST,)
    failed = facts(item(), state=JailState.FAILED, last_exit="exited with status 1", pid=None)
    assert passed(item(), failed).serving["shop"] == ()


def test_opinion_about_another_run_of_the_program_counts_for_nothing() -> None:
    wanted = item(health=Health(tcp=TcpProbe(port=80)))
    jail, found = facts(wanted)
    now = {jail: Opinion(run_of(found), is_healthy=True)}
    assert passed(wanted, (jail, found), opinions=now).serving["shop"] == (FIRST,)
    before = {jail: Opinion("another", is_healthy=True)}
    assert passed(wanted, (jail, found), opinions=before).serving["shop"] == ()


def test_order_is_part_of_the_decision_that_it_was_known_to() -> None:
    passage = passed(item(), facts(item()), orders={"shop": (Order(Word.PROMOTE),)})
    assert passage.decisions["shop"].events[0].startswith("not promote")
    assert passage.orders == {"shop": (Order(Word.PROMOTE),)}


def test_traffic_is_told_of_apps_that_may_have_several_instances_only() -> None:
    assert traffic_of(passed(item(), facts(item())), Placement()) == {}
    two = item(instances=2)
    said = json.loads(traffic_of(passed(two, facts(two)), Placement())["shop"])
    assert [each["instance"] for each in said["active"]] == ["blue-1"]
    assert [each["instance"] for each in said["resting"]] == ["blue-2"]


def test_traffic_is_told_of_an_app_with_ports_and_of_the_port_of_each_instance() -> None:
    shop = item(ports=(PortSpec(name="web", port=8080),))
    shared = Placement(ports={"app-shop": {"web": 20_001}})
    (active,) = json.loads(traffic_of(passed(shop, facts(shop)), shared)["shop"])["active"]
    assert active["ports"] == {"web": {"protocol": "tcp", "listen": 8080, "port": 20_001}}
    assert active["address"] == ""
    own = Placement(
        isolates=True, own_network=OwnNetwork(bridge="b0", subnet=IPv4Network("10.77.0.0/16"))
    )
    (active,) = json.loads(traffic_of(passed(shop, facts(shop)), own)["shop"])["active"]
    assert active["ports"]["web"]["port"] == 8080
    assert active["address"].startswith("10.77.")


def test_what_was_left_with_traffic_keeps_it_until_its_probes_are_asked(tmp_path: Path) -> None:
    shop = item(instances=2, health=Health(tcp=TcpProbe(port=8080)))
    jail, found = facts(shop)

    def active(traffic: Traffic, passage: Passage) -> list[str]:
        said = json.loads(traffic.show(passage, Placement())["shop"])
        return [each["instance"] for each in said["active"]]

    well = {jail: Opinion(run_of(found), is_healthy=True)}
    ill = {jail: Opinion(run_of(found), is_healthy=False)}
    unasked = passed(shop, (jail, found))
    assert active(Traffic(tmp_path), unasked) == []
    assert active(Traffic(tmp_path), passed(shop, (jail, found), opinions=well)) == ["blue-1"]
    heir = Traffic(tmp_path)
    assert active(heir, unasked) == ["blue-1"]
    assert active(heir, passed(shop, (jail, found), opinions=ill)) == []
    # Asked once, it is not trusted again.
    assert active(heir, unasked) == []


def test_fleet_without_rollouts_is_what_is_wanted() -> None:
    spec = cast("AppSpec", item(instances=3).spec)
    desired = Desired.of(RealmSpec(version=1, name="demo"), (), (spec,))
    assert sorted(fleet_of(desired)) == ["a2-shop", "a3-shop", "app-shop"]
