"""What the loader reads: loader.conf, and local.lua in a real Lua with a model of the loader."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from appliance.tuning import LARGE_BYTES, TABLE, When

BASE = Path(__file__).resolve().parents[3] / "overlays/base"
LUA = next((path for name in ("lua5.4", "lua5.3", "lua") if (path := shutil.which(name))), None)
LOADER = """
loader = { env = {}, done = {} }
function loader.getenv(name) return loader.env[name] end
function loader.setenv(name, value) loader.env[name] = value end
function loader.unsetenv(name) loader.env[name] = nil end
function loader.delay(us) table.insert(loader.done, "delay " .. us) end
function loader.perform(command) table.insert(loader.done, command) end
"""
# What the loader offers to scripts that have more to do once loader.conf was read.
HOOKS = """
package.preload["hook"] = function()
    return { register = function(kind, done)
        assert(kind == "config.loaded", kind)
        hooked = done
    end }
end
"""
# A device, and the size of the memory as the firmware tells it.
KNOWN = [("disk0p3:", "A"), ("disk0p4:", "B"), ("disk1p3:", "A"), ("disk12p4:", "B")]
UNKNOWN = ["disk0p5:", "disk0p33:", "disk0s3:", "disk0:", "cd0:", "net0:", "xdisk0p3:", "", None]

needs_lua = pytest.mark.skipif(LUA is None, reason="no Lua interpreter is installed")


def boot(device: str | None, **given: str) -> tuple[dict[str, str], list[str], str]:
    """What the loader's environment is afterwards, what was performed, and what was said."""
    known = {**given, **({} if device is None else {"currdev": device})}
    lines = [f'loader.env["{name}"] = "{value}"' for name, value in known.items()]
    script = f"""{LOADER}
{chr(10).join(lines)}
dofile("{BASE / "boot/lua/local.lua"}")
for name, value in pairs(loader.env) do print("env " .. name .. "=" .. value) end
for _, command in ipairs(loader.done) do print("done " .. command) end
"""
    assert LUA is not None
    ran = subprocess.run([LUA, "-"], input=script, capture_output=True, text=True, check=True)
    env, done, said = {}, [], []
    for line in ran.stdout.splitlines():
        kind, _, rest = line.partition(" ")
        if kind == "env":
            name, _, value = rest.partition("=")
            env[name] = value
        elif kind == "done":
            done.append(rest)
        else:
            said.append(line)
    return env, done, "\n".join(said)


@needs_lua
@pytest.mark.parametrize(("device", "slot"), KNOWN)
def test_root_is_the_slot_that_was_booted(device: str, slot: str) -> None:
    env, done, said = boot(device)
    assert env["vfs.root.mountfrom"] == f"ufs:/dev/gpt/slot{slot}"
    assert env["vfs.root.mountfrom.options"] == "ro"
    assert env["macula.slot"] == slot
    assert done == []
    # As it was recorded on a serial line.
    assert f"local.lua: currdev={device} slot={slot}" in said


@needs_lua
def test_loader_conf_that_is_read_later_changes_nothing() -> None:
    # Up to 13.0 the loader runs local.lua before loader.conf, from 13.1 on after it.
    large = {each.name: each.large for each in TABLE if each.when is When.LOADER}
    loaded = "\n".join(f'loader.setenv("{name}", "{value}")' for name, value in settings().items())
    script = f"""{LOADER}{HOOKS}
loader.env["currdev"] = "disk0p4:"
loader.env["smbios.memory.enabled"] = "16777216"
dofile("{BASE / "boot/lua/local.lua"}")
{loaded}
hooked()
for name, value in pairs(loader.env) do print("env " .. name .. "=" .. value) end
"""
    assert LUA is not None
    ran = subprocess.run([LUA, "-"], input=script, capture_output=True, text=True, check=True)
    env = dict(
        line.removeprefix("env ").split("=", 1)
        for line in ran.stdout.splitlines()
        if line.startswith("env ")
    )
    assert {name: env[name] for name in large} == large
    assert env["vfs.root.mountfrom"] == "ufs:/dev/gpt/slotB"


@needs_lua
@pytest.mark.parametrize("device", UNKNOWN)
def test_unknown_device_never_gets_a_root(device: str | None) -> None:
    stale = {"vfs.root.mountfrom": "ufs:/dev/gpt/slotA", "macula.slot": "A"}
    env, done, said = boot(device, **stale)
    assert "vfs.root.mountfrom" not in env
    assert "macula.slot" not in env
    assert done == ["delay 30000000", "reboot"]
    assert "no slot of this system" in said


@needs_lua
@pytest.mark.parametrize(
    ("kib", "is_large"),
    [(None, False), ("", False), ("junk", False), ("1048576", False), ("8388608", True)],
)
def test_large_machines_get_what_only_the_loader_can_set(kib: str | None, is_large: bool) -> None:
    env, _done, _said = boot("disk0p3:", **({} if kib is None else {"smbios.memory.enabled": kib}))
    large = {each.name: each.large for each in TABLE if each.when is When.LOADER}
    found = {name: env[name] for name in large if name in env}
    assert found == (large if is_large else {})


def test_loader_and_tuning_agree_on_what_is_large() -> None:
    text = (BASE / "boot/lua/local.lua").read_text()
    found = re.search(r"LARGE_KIB = (\d+)", text)
    assert found is not None
    assert int(found[1]) * 1024 == LARGE_BYTES


def settings() -> dict[str, str]:
    found = {}
    for line in (BASE / "boot/loader.conf").read_text().splitlines():
        if line and not line.startswith("#"):
            # The only form of a line that every release's reader takes.
            matched = re.fullmatch(r'([A-Za-z0-9_.]+)="([^"]*)"', line)
            assert matched, line
            assert matched[1] not in found, f"{matched[1]} is set twice"
            found[matched[1]] = matched[2]
    return found


def test_loader_conf_has_the_values_of_small_machines() -> None:
    found = settings()
    small = {each.name: each.small for each in TABLE if each.when is When.LOADER}
    # What is not said has the default, which the table names too.
    assert {name: value for name, value in small.items() if name in found} == {
        name: found[name] for name in small if name in found
    }
    assert "net.isr.maxthreads" in found


def test_console_and_limits_and_modules_are_asked_for() -> None:
    found = settings()
    assert found["console"] == "comconsole,vidconsole"
    assert found["comconsole_speed"] == "115200"
    assert found["kern.racct.enable"] == "1"
    for module in ("if_bridge", "if_epair", "nullfs", "pf", "ichwd", "amdsbwd"):
        assert found[f"{module}_load"] == "YES"
    # Files that defaults/loader.conf asks for, and that a root that is never written cannot have.
    for file in ("hostuuid", "entropy_cache"):
        assert found[f"{file}_load"] == "NO"


def test_no_root_is_named_where_a_slot_could_not_change_it() -> None:
    assert "vfs.root.mountfrom" not in settings()
    mounts = [
        line.split()
        for line in (BASE / "etc/fstab").read_text().splitlines()
        if line and not line.startswith("#")
    ]
    assert [(mount[0], mount[1]) for mount in mounts] == [
        ("/dev/gpt/cfg", "/cfg"),
        ("/dev/gpt/data", "/data"),
    ]
    for mount in mounts:
        assert (BASE / mount[1][1:]).is_dir(), "a mount point has to be in the image"
        assert "failok" in mount[3].split(",")
        # rc.d/fsck asks for a shell where a partition with a turn is missing.
        assert mount[4:] == ["0", "0"]
