"""A machine of its own for tests of routing: a network namespace between two others.

    stranger --- left [machine] right --- other

The stranger and the other have the machine as their way to everything; the machine has its way
out by ``right``. Jails of the machine are made by a process that runs in it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jailyard
import namespaceyard
from jails.spec import Forward, Isolation, Network, NetworkKind
from namespaceyard import tool

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from jails.namespaces.runtime import NamespaceRuntime

# In a namespace of its own, so every worker of a parallel run may have it.
BRIDGE = "mjroute"
ECHO = (
    "import socket\n"
    "s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM); s.bind(('::', 4433))\n"
    "print('bound', flush=True)\n"
    "while True:\n"
    "    data, peer = s.recvfrom(100); s.sendto(peer[0].removeprefix('::ffff:').encode(), peer)\n"
)
# Address, port, tries. Says what was answered, or nothing.
ASK = (
    "import socket, sys\n"
    "family = socket.AF_INET6 if ':' in sys.argv[1] else socket.AF_INET\n"
    "s = socket.socket(family, socket.SOCK_DGRAM); s.settimeout(0.2)\n"
    "for _ in range(int(sys.argv[3])):\n"
    "    try:\n"
    "        s.sendto(b'who am I', (sys.argv[1], int(sys.argv[2])))\n"
    "        print(s.recv(100).decode(), flush=True); break\n"
    "    except OSError: pass\n"
)
_CONSOLE = """
import json, sys
from pathlib import Path
import namespaceyard, netmachine
runtime = namespaceyard.runtime_at(Path(sys.argv[1]))
for line in sys.stdin:
    verb, words = json.loads(line)
    print(json.dumps(getattr(netmachine, verb)(runtime, *words)), flush=True)
"""


@dataclass(frozen=True)
class Plan:
    """Addresses of one family; those of the machine end in 1, everybody else's in 2."""

    is_ipv6: bool

    def address(self, network: int, number: int) -> str:
        """1 is the network of the stranger, 2 that of the other, 3 that of jails."""
        worker = namespaceyard.WORKER
        if self.is_ipv6:
            return f"fd00:79:{worker + 1}{network}::{number}"
        return f"10.{90 + worker}.{network}.{number}"

    @property
    def length(self) -> int:
        """Of each network."""
        return 64 if self.is_ipv6 else 24


def ensure(runtime: NamespaceRuntime, is_ipv6: bool) -> str:
    """A jail that answers on port 4433, and on 7000 of the left interface; its program's digest."""
    plan = Plan(is_ipv6)
    network = Network(
        kind=NetworkKind.VNET,
        bridge=BRIDGE,
        address=f"{plan.address(3, 2)}/{plan.length}",
        gateway=plan.address(3, 1),
    )
    forward = Forward(interface="left", protocol="udp", port=7000, inner_port=4433)
    isolation = Isolation(network=network, forwards=(forward,))
    runtime.ensure(namespaceyard.jail("n1", ECHO, isolation))
    jailyard.eventually("it is bound", lambda: runtime.logs("n1", 1) == ["bound"])
    return state(runtime)


def state(runtime: NamespaceRuntime) -> str:
    """Process id and digest of the jail; empty digest: it is damaged."""
    facts = runtime.look()["n1"]
    return f"{facts.pid} {facts.program_digest}"


def ask(runtime: NamespaceRuntime, address: str) -> str:
    """What is answered to a question from inside of the jail."""
    return runtime.exec("n1", (*jailyard.python(ASK), address, "4433", "50")).strip()


def remove(runtime: NamespaceRuntime) -> None:
    """The jail goes."""
    runtime.remove("n1")


class Machine:
    """The three namespaces, and the process that makes jails in the middle one."""

    def __init__(self, plan: Plan, console: subprocess.Popen[str]) -> None:
        self.plan = plan
        self._console = console

    def do(self, verb: str, *words: Any) -> Any:
        """Let a function of this module run in the machine."""
        assert self._console.stdin is not None
        assert self._console.stdout is not None
        self._console.stdin.write(json.dumps([verb, words]) + "\n")
        self._console.stdin.flush()
        return json.loads(self._console.stdout.readline())

    def asked_from(self, side: str, address: str, port: int = 4433, *, tries: int = 50) -> str:
        """What the stranger or the other is answered; empty if nothing."""
        argv = (*jailyard.python(ASK), address, str(port), str(tries))
        return tool("ip", "netns", "exec", _name(side), *argv).strip()

    def run(self, *argv: str) -> str:
        """What a tool answers in the machine."""
        return tool("ip", "netns", "exec", _name("machine"), *argv)

    def switches(self) -> dict[str, str]:
        """Where forwarding is on, and how."""
        family = "ipv6" if self.plan.is_ipv6 else "ipv4"
        said = self.run("grep", "-r", "", "--include=*forwarding", f"/proc/sys/net/{family}/conf")
        pairs = (line.split("/conf/")[1].split(":") for line in said.splitlines())
        return {name: text for name, text in pairs if text != "0" and "mc_" not in name}


@contextmanager
def machine(root: Path, *, is_ipv6: bool) -> Iterator[Machine]:
    """The three namespaces; the other answers on port 4433."""
    plan = Plan(is_ipv6)
    with ExitStack() as held:
        for side in ("machine", "stranger", "other"):
            tool("ip", "netns", "add", _name(side))
            held.callback(tool, "ip", "netns", "delete", _name(side))
            tool("ip", "-netns", _name(side), "link", "set", "dev", "lo", "up")
        _join("left", "stranger", 1, plan)
        _join("right", "other", 2, plan)
        way_out = ("route", "add", "default", "via", plan.address(2, 2))
        tool("ip", "-netns", _name("machine"), *way_out)
        answering = held.enter_context(_running(_inside("other", *jailyard.python(ECHO))))
        assert answering.stdout is not None
        assert answering.stdout.readline() == "bound\n"
        code = (sys.executable, "-c", _CONSOLE, str(root))
        yield Machine(plan, held.enter_context(_running(_inside("machine", *code))))


def _join(interface: str, side: str, network: int, plan: Plan) -> None:
    """A pair between the machine and a side, with addresses, and the side's way to everything."""
    here, there = ("ip", "-netns", _name("machine")), ("ip", "-netns", _name(side))
    peer = ("peer", "name", "far", "netns", _name(side))
    tool(*here, "link", "add", "name", interface, "type", "veth", *peer)
    more = ("nodad",) if plan.is_ipv6 else ()
    for who, device, number in ((here, interface, 1), (there, "far", 2)):
        address = f"{plan.address(network, number)}/{plan.length}"
        tool(*who, "address", "add", address, "dev", device, *more)
        tool(*who, "link", "set", "dev", device, "up")
    tool(*there, "route", "add", "default", "via", plan.address(network, 1))


@contextmanager
def _running(argv: tuple[str, ...]) -> Iterator[subprocess.Popen[str]]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    pipe = subprocess.PIPE
    with subprocess.Popen(argv, stdin=pipe, stdout=pipe, text=True, env=environment) as process:
        try:
            yield process
        finally:
            process.kill()


def _inside(side: str, *argv: str) -> tuple[str, ...]:
    return ("ip", "netns", "exec", _name(side), *argv)


def _name(side: str) -> str:
    return f"mjrt{namespaceyard.WORKER}-{side}"
