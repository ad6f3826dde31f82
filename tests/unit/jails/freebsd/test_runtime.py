"""The FreeBSD runtime on the model machine: one behaviour at a time."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

import freebsdyard
from jails.freebsd.model.answer import Answer
from jails.freebsd.place import Place
from jails.naming import derive
from jails.runtime import JailError
from jails.spec import (
    Forward,
    HookKind,
    Hooks,
    Isolation,
    JailFile,
    JailSpec,
    JailState,
    Limits,
    Network,
    NetworkKind,
    ProgramHooks,
    Root,
    RootKind,
    SharedFolder,
)
from maculaos.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from freebsdyard import Yard

VNET = Network(
    kind=NetworkKind.VNET, bridge="bridge0", address="10.77.0.11/24", gateway="10.77.0.1"
)
SHARED = Network(kind=NetworkKind.SHARED, interface="lo1", address="10.88.0.5/32")
SPEC = JailSpec(name="n1", command=("/usr/local/bin/node",))


@pytest.fixture
def yard() -> Iterator[Yard]:
    with freebsdyard.yard() as yard:
        yield yard


def with_isolation(**parts: object) -> JailSpec:
    return replace(SPEC, isolation=Isolation(**parts))  # type: ignore[arg-type]  # the caller's words


def paths(yard: Yard) -> list[str]:
    root = f"{yard.root}/n1/root"
    mounted = [each.path for each in yard.host.mounts.table if each.path.startswith(root)]
    return [path.removeprefix(root) for path in mounted]


def foreign_jail(yard: Yard) -> None:
    yard.host.files.make_folder("/data/foreign")
    conf = "macula-n1 { path = /data/foreign; persist; }"
    yard.host.files.write("/data/foreign.conf", conf.encode())
    yard.host.run("jail", "-f", "/data/foreign.conf", "-c", "macula-n1")
    yard.host.run("rctl", "-a", "jail:macula-n1:maxproc:deny=9")


def test_a_thin_jail_shares_the_system_and_owns_the_rest(yard: Yard) -> None:
    yard.runtime().ensure(SPEC)
    assert paths(yard) == [
        "/bin",
        "/sbin",
        "/usr",
        "/.launch",
        "/.keep",
        "/var/log",
        "/data",
        "/dev",
    ]
    options = {each.path: each.options for each in yard.host.mounts.table}
    assert options[f"{yard.root}/n1/root/usr"] == ("ro",)
    assert options[f"{yard.root}/n1/root/data"] == ("rw",)
    assert (yard.root / "n1/root/etc/passwd").exists()
    assert (yard.root / "n1/root/etc/spwd.db").stat().st_mode & 0o777 == 0o600
    assert (yard.root / "n1/root/tmp").stat().st_mode & 0o7777 == 0o1777


def test_only_the_writable_part_outlives_a_start(yard: Yard) -> None:
    yard.runtime().ensure(SPEC)
    (yard.root / "n1/root/etc/planted").symlink_to("/etc")
    (yard.root / "n1/data/kept").touch()
    yard.runtime().ensure(replace(SPEC, generation="2"))
    assert not (yard.root / "n1/root/etc/planted").is_symlink()
    assert (yard.root / "n1/data/kept").exists()


def test_a_thick_jail_has_a_system_of_its_own(yard: Yard) -> None:
    base = yard.folder / "own"
    for path in ("bin/sh", "usr/sbin/daemon", "root/.profile", "var/run/x"):
        (base / path).parent.mkdir(parents=True, exist_ok=True)
        (base / path).touch()
    root = Root(kind=RootKind.THICK, base=str(base))
    yard.runtime().ensure(with_isolation(root=root))
    assert paths(yard) == ["", "/.launch", "/.keep", "/var/log", "/data", "/dev"]
    yard.runtime().remove("n1")
    assert (base / "root/.profile").exists()
    assert paths(yard) == []


def test_what_is_mounted_last_is_unmounted_first(yard: Yard) -> None:
    base = yard.folder / "own"
    for path in ("bin/sh", "usr/sbin/daemon", "root/.profile", "var/run/x"):
        (base / path).parent.mkdir(parents=True, exist_ok=True)
        (base / path).touch()
    yard.runtime().ensure(with_isolation(root=Root(kind=RootKind.THICK, base=str(base))))
    # Without its configuration jail(8) leaves the mounts.
    (yard.root / "n1/jail.conf").unlink()
    yard.runtime().stop("n1")
    assert paths(yard) == []
    unmounted = [argv[-1] for argv in yard.host.asked if argv[0] == "umount"]
    assert len(unmounted) == len(set(unmounted)) == 6
    assert unmounted[-1] == f"{yard.root}/n1/root"


def test_an_epair_on_record_that_somebody_uses_is_left_alone(yard: Yard) -> None:
    yard.runtime().ensure(SPEC)
    yard.host.run("ifconfig", "epair5", "create")
    yard.host.run("ifconfig", "epair6", "create")
    yard.host.run("ifconfig", "epair5a", "up")
    for number, is_left in ((5, True), (6, False)):
        place = Place(yard.root / "n1")
        record = place.record()
        assert record is not None
        place.write_record(replace(record, epair=number))
        yard.runtime().stop("n1")
        assert (yard.host.network.stacks[""].find(f"epair{number}a") is not None) == is_left


def test_a_link_in_the_way_of_a_mount_is_refused(yard: Yard) -> None:
    base = yard.folder / "own"
    base.mkdir()
    (base / "data").symlink_to("/etc")
    root = Root(kind=RootKind.THICK, base=str(base))
    with pytest.raises(JailError, match="data is a link"):
        yard.runtime().ensure(with_isolation(root=root))
    assert yard.host.jails.alive == {}


def test_a_start_that_fails_on_files_leaves_nothing_either(yard: Yard) -> None:
    base = yard.folder / "own"
    base.mkdir()
    (base / "data").symlink_to("/etc")
    root = Root(kind=RootKind.THICK, base=str(base))
    with pytest.raises(JailError):
        yard.runtime().ensure(with_isolation(root=root, network=VNET))
    assert yard.host.network.stacks[""].find(derive("n1").host_interface) is None


def test_a_root_that_fstab_would_misread_is_refused(yard: Yard) -> None:
    yard.root = yard.folder / "two words"
    with pytest.raises(UsageError, match="cannot be the root of jails"):
        yard.runtime()


def test_folders_of_the_host_can_be_shared(yard: Yard) -> None:
    (yard.folder / "media").mkdir()
    shared = SharedFolder(source=f"{yard.folder}/media", target="/media/films", is_writable=True)
    yard.runtime().ensure(with_isolation(mounts=(shared,)))
    assert "/media/films" in paths(yard)
    yard.runtime().remove("n1")
    assert (yard.folder / "media").is_dir()


def test_a_vnet_jail_is_on_its_bridge_under_derived_names(yard: Yard) -> None:
    yard.host.network.epair_offload = ("TXCSUM", "TXCSUM_IPV6")
    yard.runtime().ensure(with_isolation(network=VNET))
    names = derive("n1")
    bridge = yard.host.network.stacks[""].find("bridge0")
    assert bridge is not None
    assert [str(each) for each in bridge.addresses] == ["10.77.0.1/24"]
    (member,) = bridge.members
    assert (member.name, member.ether) == (names.host_interface, names.host_mac)
    inner = yard.host.network.stacks["macula-n1"].find(names.jail_interface)
    assert inner is not None
    assert (inner.ether, str(inner.addresses[0])) == (names.jail_mac, "10.77.0.11/24")
    assert "TXCSUM" not in (*member.options, *inner.options)
    record = Place(yard.root / "n1").record()
    assert record is not None
    # Once it has our names, its number is nobody's: it may be a stranger's next.
    assert record.epair is None


def test_an_address_that_somebody_set_on_the_bridge_stays(yard: Yard) -> None:
    yard.host.run("ifconfig", "bridge0", "create")
    yard.host.run("ifconfig", "bridge0", "inet", "192.0.2.1/24", "up")
    yard.runtime().ensure(with_isolation(network=VNET))
    bridge = yard.host.network.stacks[""].find("bridge0")
    assert bridge is not None
    assert [str(each) for each in bridge.addresses] == ["192.0.2.1/24", "10.77.0.1/24"]


def test_the_number_of_an_epair_may_be_taken(yard: Yard) -> None:
    number = int(derive("n1").host_interface[2:-1], 16) % 0x8000
    yard.host.run("ifconfig", f"epair{number}", "create")
    yard.host.run("ifconfig", f"epair{number}a", "name", "theirs")
    yard.host.run("ifconfig", f"epair{number}b", "name", "theirs_too")
    yard.runtime().ensure(with_isolation(network=VNET))
    yard.runtime().remove("n1")
    assert yard.host.network.stacks[""].find("theirs") is not None


def test_a_shared_address_comes_and_goes_with_the_jail(yard: Yard) -> None:
    yard.runtime().ensure(with_isolation(network=SHARED))
    assert yard.host.jails.alive["macula-n1"].addresses == ["10.88.0.5"]
    yard.runtime().stop("n1")
    loopback = yard.host.network.stacks[""].find("lo1")
    assert loopback is not None
    assert loopback.addresses == []


def test_limits_and_redirects_are_set_mended_and_removed(yard: Yard) -> None:
    forward = Forward(interface="vtnet0", protocol="udp", port=4433, inner_port=4434)
    limits = Limits(memory_bytes=1 << 26, processes=50, open_files=100, cpu_percent=150)
    spec = with_isolation(network=VNET, forwards=(forward,), limits=limits)
    yard.runtime().ensure(spec)
    assert {rule.text() for rule in yard.host.limits.rules} == {
        "jail:macula-n1:memoryuse:deny=67108864",
        "jail:macula-n1:maxproc:deny=50",
        "jail:macula-n1:openfiles:deny=100",
        "jail:macula-n1:pcpu:deny=150",
    }
    rules = dict(yard.host.firewall.anchors)
    assert list(rules) == ["macula/n1"]
    pid = yard.runtime().look()["n1"].pid
    yard.host.firewall.anchors.clear()
    yard.host.limits.rules.pop()
    yard.runtime().ensure(spec)
    assert yard.host.firewall.anchors == rules
    assert len(yard.host.limits.rules) == 4
    assert yard.runtime().look()["n1"].pid == pid
    yard.runtime().stop("n1")
    assert yard.host.firewall.anchors == {}
    assert yard.host.limits.rules == []


def test_a_program_that_ends_at_once_is_told_with_its_last_words(yard: Yard) -> None:
    yard.host.processes.broken.add("macula-n1")
    with pytest.raises(JailError, match="n1: ended at once; it wrote nothing"):
        yard.runtime().ensure(SPEC)
    assert yard.runtime().look()["n1"].state is JailState.BACKING_OFF


def test_a_start_that_fails_is_told_and_leaves_nothing(yard: Yard) -> None:
    (yard.system / "usr/sbin/daemon").unlink()
    with pytest.raises(JailError, match=r"did not start: .*exec /usr/sbin/daemon: No such file"):
        yard.runtime().ensure(with_isolation(network=VNET, limits=Limits(processes=5)))
    assert yard.host.jails.alive == {}
    assert paths(yard) == []
    assert yard.host.limits.rules == []
    assert yard.host.network.stacks[""].find(derive("n1").host_interface) is None


@pytest.mark.parametrize("times", [1, 5, 100])
def test_busy_mounts_are_waited_for_then_forced(yard: Yard, times: int) -> None:
    yard.runtime().ensure(SPEC)
    yard.host.mounts.busy[f"{yard.root}/n1/root/usr"] = times
    yard.runtime().remove("n1")
    assert paths(yard) == []
    assert any("-f" in argv for argv in yard.host.asked if argv[0] == "umount") == (times > 10)


def test_a_dying_jail_is_waited_for_but_not_for_ever(yard: Yard) -> None:
    yard.runtime().ensure(SPEC)
    for looks in (3, 1000):
        yard.host.jails.linger["macula-n1"] = looks
        yard.runtime().stop("n1")
        assert yard.runtime().look()["n1"].state is JailState.STOPPED
        yard.runtime().ensure(SPEC)
        assert yard.runtime().look()["n1"].state is JailState.RUNNING


def test_a_stranger_under_our_name_is_left_alone(yard: Yard) -> None:
    foreign_jail(yard)
    with pytest.raises(JailError, match="a jail macula-n1 that is not ours runs in /data/foreign"):
        yard.runtime().ensure(SPEC)
    yard.runtime().stop("n1")
    yard.runtime().remove("n1")
    assert list(yard.host.jails.alive) == ["macula-n1"]
    assert [rule.jail for rule in yard.host.limits.rules] == ["macula-n1"]
    assert dict(yard.runtime().look()) == {}
    assert not (yard.root / "n1").exists()


def test_a_stranger_that_took_our_name_later_is_left_alone(yard: Yard) -> None:
    yard.runtime().ensure(SPEC)
    yard.runtime().stop("n1")
    foreign_jail(yard)
    assert yard.runtime().look()["n1"].state is JailState.STOPPED
    yard.runtime().remove("n1")
    assert list(yard.host.jails.alive) == ["macula-n1"]
    assert [rule.jail for rule in yard.host.limits.rules] == ["macula-n1"]


def test_a_jail_whose_folder_was_deleted_is_found_and_taken_away(yard: Yard) -> None:
    yard.runtime().ensure(with_isolation(network=VNET))
    for entry in (".macula-jail", "record.json", "jail.conf", "fstab"):
        (yard.root / "n1" / entry).unlink()
    (yard.root / "n1").rename(yard.folder / "elsewhere")
    assert yard.runtime().look()["n1"].state is JailState.ORPHANED
    yard.runtime().remove("n1")
    assert yard.host.jails.alive == {}
    assert paths(yard) == []
    assert dict(yard.runtime().look()) == {}


def test_an_account_owns_the_writable_part(yard: Yard) -> None:
    spec = replace(with_isolation(user="macula"), files=(JailFile(path="a", content=b"1"),))
    yard.runtime().ensure(spec)
    daemon, loop, program = yard.host.processes.of("macula-n1")
    # What the loop writes is not the program's to change.
    assert [daemon.user, loop.user, program.user] == ["root", "root", "macula"]
    yard.runtime().update_files(replace(spec, files=(JailFile(path="a", content=b"2"),)))
    chown = ("jexec", "macula-n1", "/usr/sbin/chown", "-R", "-h", "macula", "/data")
    assert chown in yard.host.asked


def test_a_file_that_left_the_spec_is_the_programs_own_afterwards(yard: Yard) -> None:
    file = JailFile(path="a", content=b"1", restarts=False)
    yard.runtime().ensure(replace(SPEC, files=(file,)))
    yard.runtime().update_files(SPEC)
    assert not (yard.root / "n1/data/a").exists()
    (yard.root / "n1/data/a").write_bytes(b"mine")
    assert yard.runtime().look()["n1"].files_digest == SPEC.files_digest()
    yard.runtime().update_files(SPEC)
    assert (yard.root / "n1/data/a").read_bytes() == b"mine"


def test_the_log_of_the_start_before_is_moved_aside(yard: Yard) -> None:
    yard.runtime().ensure(SPEC)
    (yard.root / "n1/logs/program.log").write_text("old\n")
    yard.runtime().ensure(replace(SPEC, generation="2"))
    assert yard.runtime().logs("n1", 5) == []
    assert (yard.root / "n1/logs/program.log.before").read_text() == "old\n"


def test_hooks_run_on_the_host_around_the_jail(yard: Yard) -> None:
    hooks = Hooks(prepare=(("mkdir", "-p", "/tmp/made"),), release=(("sleep", "1"),))  # noqa: S108
    yard.runtime().ensure(with_isolation(hooks=hooks))
    assert yard.host.files.exists("/tmp/made")  # noqa: S108  a folder of the model
    before = yard.host.processes.now
    yard.runtime().stop("n1")
    assert yard.host.processes.now >= before + 1.0


def test_logs_are_read_from_the_end_and_through_no_link(yard: Yard) -> None:
    yard.runtime().ensure(SPEC)
    log = yard.root / "n1/logs/program.log"
    log.write_text("one\ntwo\nthree\n")
    assert yard.runtime().logs("n1", 2) == ["two", "three"]
    assert yard.runtime().logs("n1", 0) == []
    log.unlink()
    log.symlink_to("/etc/passwd")
    assert yard.runtime().logs("n1", 5) == []


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"network": replace(VNET, address="10.77.0.11")}, "no address with a length"),
        ({"network": replace(VNET, gateway="gate")}, "no address of a gateway"),
        ({"network": replace(VNET, bridge="a;b")}, "no name of a bridge"),
        ({"network": replace(SHARED, interface="a" * 16)}, "no name of a interface"),
        ({"forwards": (Forward(interface="em0", protocol="udp", port=1),)}, "no address of its"),
        (
            {"network": VNET, "forwards": (Forward(interface="em0", protocol="icmp", port=1),)},
            "cannot be forwarded",
        ),
        ({"limits": Limits(processes=0)}, "more than nothing"),
        ({"user": "root; rm"}, "no name of an account"),
        ({"mounts": (SharedFolder(source="/a b", target="/c"),)}, "no plain absolute path"),
        ({"mounts": (SharedFolder(source="/a", target="/../c"),)}, "no plain absolute path"),
        ({"hooks": Hooks(prepare=(("echo", "a; b"),))}, "plain words"),
    ],
)
def test_what_jail_conf_could_misread_is_refused_before_anything_is_made(
    yard: Yard, parts: dict[str, object], said: str
) -> None:
    with pytest.raises(JailError, match=said):
        yard.runtime().ensure(with_isolation(**parts))
    assert not yard.root.exists()


def test_one_address_is_not_given_to_two_jails(yard: Yard) -> None:
    yard.runtime().ensure(with_isolation(network=VNET))
    other = replace(with_isolation(network=VNET), name="n2")
    with pytest.raises(JailError, match=r"the address 10\.77\.0\.11 is that of the jail n1"):
        yard.runtime().ensure(other)
    yard.runtime().remove("n1")
    yard.runtime().ensure(other)


def test_hook_is_run_in_the_jail_by_the_account_of_the_program(yard: Yard) -> None:
    runtime, asked = yard.runtime(), list[tuple[str, ...]]()

    def shell(argv: tuple[str, ...]) -> Answer:
        asked.append(argv)
        return Answer(stderr="no room", status=3) if argv[1].endswith("hook-stop") else Answer()

    yard.host.inside.programs["/bin/sh"] = shell
    hooks = ProgramHooks(start=("{data}/announce", "a b"), stop=("save",))
    runtime.ensure(replace(SPEC, hooks=hooks, environment={"WORD": "it's"}))
    assert runtime.hook("n1", HookKind.START)
    assert asked == [("/bin/sh", "/.launch/hook-start")]
    assert not runtime.hook("n1", HookKind.DRAIN)
    with pytest.raises(JailError, match="its stop hook: exit status 3: no room"):
        runtime.hook("n1", HookKind.STOP)
    script = (Place(yard.root / "n1").launch / "hook-start").read_text()
    assert script.splitlines()[-1].endswith("/data/announce 'a b'")
    assert """'WORD=it'"'"'s'""" in script
    # What the next start has no use for goes.
    runtime.ensure(SPEC)
    assert not runtime.hook("n1", HookKind.START)
    assert len(asked) == 2
