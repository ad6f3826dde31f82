"""ifconfig(8) of the model: words, one after the other, upon one interface."""

from __future__ import annotations

import json
import re
from ipaddress import IPv4Interface

from jails.freebsd.ifconfig import LONGEST_NAME
from jails.freebsd.model.answer import Answer, UntaughtCommand, refused
from jails.freebsd.model.interfaces import Interface, Stack, new_interface

_CLONER = re.compile(r"(epair|bridge|lo)(\d*)")
_OFFLOAD = {"-txcsum": "TXCSUM", "-txcsum6": "TXCSUM_IPV6", "-rxcsum": "RXCSUM"}
_LINK = ("create", "destroy", "up", "down")


class Network:
    """Every stack: the machine's own under the empty name, and those of jails under theirs."""

    def __init__(self) -> None:
        self.stacks: dict[str, Stack] = {"": Stack()}
        uplink = new_interface("vtnet0", "vtnet")
        uplink.ether = "52:54:00:12:34:56"
        uplink.addresses = [IPv4Interface("10.0.2.15/24")]
        uplink.switch_on()
        self.stacks[""].add(uplink)
        self._add_loopback(self.stacks[""]).switch_on()
        self.stacks[""].interfaces[1].addresses = [IPv4Interface("127.0.0.1/8")]
        # What a new epair can offload: nothing in 13.1, checksums from 14.4 on.
        self.epair_offload: tuple[str, ...] = ()

    def add_stack(self, jail: str) -> None:
        """A new stack with a loopback that is down."""
        self.stacks[jail] = Stack()
        self._add_loopback(self.stacks[jail])

    def remove_stack(self, jail: str) -> None:
        """The stack goes; what had moved into it comes back, down and without addresses."""
        stack = self.stacks.pop(jail, None)
        for each in stack.interfaces if stack else []:
            if each.kind == "epair":
                self._settle(each, self.stacks[""])

    def ifconfig(self, argv: tuple[str, ...], jail: str = "") -> Answer:
        """ifconfig(8), in the stack of ``jail``."""
        stack = self.stacks[jail]
        match argv[1:]:
            case () | ("-a",):
                return Answer("".join(stack.text(each) for each in stack.interfaces))
            case ("-l",):
                return Answer(" ".join(each.name for each in stack.interfaces) + "\n")
            case ("-f", "inet:cidr", name):
                return self._shown(stack, name, is_cidr=True)
            case (name,):
                return self._shown(stack, name)
            case (name, "create"):
                return self._create(stack, name)
        return self._change(stack, argv)

    def traffic(self, name: str) -> Answer:
        """netstat(1) of one interface of the machine, as JSON; the form is read, not recorded."""
        rows = self.stacks[""].traffic(name)
        return Answer(json.dumps({"statistics": {"interface": rows} if rows else {}}) + "\n")

    def _shown(self, stack: Stack, name: str, *, is_cidr: bool = False) -> Answer:
        found = stack.find(name)
        if found is None:
            return _unknown(name)
        return Answer(stack.text(found, is_cidr=is_cidr))

    def _change(self, stack: Stack, argv: tuple[str, ...]) -> Answer:
        interface = stack.find(argv[1])
        if interface is None:
            return _unknown(argv[1])
        words = list(argv[2:])
        answer = Answer()
        while words and answer.status == 0:
            word = words.pop(0)
            answer += self._word(stack, interface, word, words, argv)
        return answer

    def _word(
        self, stack: Stack, interface: Interface, word: str, words: list[str], argv: tuple[str, ...]
    ) -> Answer:
        """Carry out one word; it takes what it needs from ``words``."""
        if word in _LINK:
            return self._link(stack, interface, word)
        if word in _OFFLOAD:
            interface.options = [each for each in interface.options if each != _OFFLOAD[word]]
            return Answer()
        if word in ("addm", "deletem"):
            return _member(stack, interface, word, words.pop(0))
        if word in ("vnet", "-vnet"):
            return self._move(stack, interface, words.pop(0), is_back=word == "-vnet")
        if word == "ether":
            interface.born_ether = interface.born_ether or interface.ether
            interface.ether = words.pop(0)
            return Answer()
        if word == "name":
            return _rename(stack, interface, words.pop(0))
        return _address(interface, words.pop(0) if word == "inet" else word, words, argv)

    def _link(self, stack: Stack, interface: Interface, word: str) -> Answer:
        if word == "create":
            return refused(f"ifconfig: interface {interface.name} already exists")
        if word == "destroy":
            self._destroy(stack, interface)
        elif word == "up":
            interface.switch_on()
        else:
            interface.is_up = False
        return Answer()

    def _create(self, stack: Stack, wanted: str) -> Answer:
        match = _CLONER.fullmatch(wanted)
        if stack.find(wanted) is not None or (match and stack.find(f"{wanted}a")):
            return refused(f"ifconfig: interface {wanted} already exists")
        if match is None:
            return refused(f"ifconfig: SIOCIFCREATE2 ({wanted}): Invalid argument")
        born = self._born_names()
        if born & {wanted, f"{wanted}a"}:
            # Inferred: a renamed interface keeps its number.
            return refused(f"ifconfig: SIOCIFCREATE2 ({wanted}): File exists")
        kind, number = match[1], match[2] or _free_number(match[1], born)
        ends = ("a", "b") if kind == "epair" else ("",)
        made = [new_interface(f"{kind}{number}{end}", kind) for end in ends]
        for each in made:
            if kind == "epair":
                each.options += self.epair_offload
            stack.add(each)
        if kind == "epair":
            made[0].peer, made[1].peer = made[1], made[0]
        return Answer("" if made[0].name == wanted else f"{made[0].name}\n")

    def _born_names(self) -> set[str]:
        """What every interface was made as, wherever it is now."""
        return {each.born_name for stack in self.stacks.values() for each in stack.interfaces}

    def _destroy(self, stack: Stack, interface: Interface) -> None:
        stack.take(interface)
        if interface.peer is not None:
            self._stack_of(interface.peer).take(interface.peer)

    def _move(self, stack: Stack, interface: Interface, jail: str, *, is_back: bool) -> Answer:
        if jail not in self.stacks or not jail:
            return refused(f"ifconfig: jail {jail} not found")
        if is_back:
            return refused("ifconfig: ioctl SIOCSIFRVNET: No such file or directory")
        stack.take(interface)
        self._settle(interface, self.stacks[jail])
        return Answer()

    def _settle(self, interface: Interface, stack: Stack) -> None:
        interface.is_up = interface.was_up = False
        interface.addresses = []
        stack.add(interface)

    def _stack_of(self, interface: Interface) -> Stack:
        return next(stack for stack in self.stacks.values() if interface in stack.interfaces)

    def _add_loopback(self, stack: Stack) -> Interface:
        loopback = new_interface("lo0", "lo")
        stack.add(loopback)
        return loopback


def _free_number(kind: str, born: set[str]) -> str:
    end = "a" if kind == "epair" else ""
    return next(str(n) for n in range(1_000) if f"{kind}{n}{end}" not in born)


def _unknown(name: str) -> Answer:
    return refused(f"ifconfig: interface {name} does not exist")


def _member(stack: Stack, bridge: Interface, word: str, name: str) -> Answer:
    member = stack.find(name)
    is_added = word == "addm"
    verb = "BRDGADD" if is_added else "BRDGDEL"
    if member is None or (not is_added and member not in bridge.members):
        return refused(f"ifconfig: {verb} {name}: No such file or directory")
    if not is_added:
        bridge.members.remove(member)
        return Answer()
    holder = stack.bridge_of(member)
    if holder is not None:
        why = "File exists" if holder is bridge else "Device busy"
        return refused(f"ifconfig: {verb} {name}: {why}")
    bridge.members.append(member)
    return Answer()


def _rename(stack: Stack, interface: Interface, name: str) -> Answer:
    failed = "ifconfig: ioctl SIOCSIFNAME (set name)"
    if len(name) > LONGEST_NAME:
        return refused(f"{failed}: File name too long")
    if stack.find(name) is not None:
        return refused(f"{failed}: File exists")
    stack.rename(interface, name)
    return Answer(f"{name}\n")


def _address(interface: Interface, address: str, words: list[str], argv: tuple[str, ...]) -> Answer:
    try:
        wanted = IPv4Interface(address)
    except ValueError as error:
        raise UntaughtCommand(argv) from error
    is_removed = words[:1] == ["-alias"]
    is_alias = words[:1] == ["alias"]
    if is_removed or is_alias:
        words.pop(0)
    if is_removed and wanted not in interface.addresses:
        return refused("ifconfig: ioctl (SIOCDIFADDR): Can't assign requested address")
    others = [each for each in interface.addresses if each != wanted]
    if not is_removed and not is_alias:
        others = []
    interface.addresses = others if is_removed else [*others, wanted]
    interface.switch_on()
    return Answer()
