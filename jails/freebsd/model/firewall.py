"""The packet filter of the model, and pfctl(8): anchors with translations, loaded whole or not.

How address translation is listed, and what a machine without pf says, was read, not recorded.
"""

from __future__ import annotations

import re

from jails.freebsd.model.answer import Answer, UntaughtCommand, refused

_RULE = re.compile(
    r"rdr pass on (\S+) inet proto (\S+) to (\(\S+\)) port (\d+) -> (\S+)(?: port (\d+))?"
)
_TRANSLATION = re.compile(
    r"nat on (\S+) inet(?: proto (?:udp|tcp))? from [0-9.]+ to any -> \(\1:0\)(?: static-port)?"
)
_REFUSED = "pfctl: Syntax error in config file: pf rules not loaded"


class Firewall:
    """Listed rules by anchor; an anchor without rules is not listed."""

    def __init__(self) -> None:
        # Whether its module is there at all.
        self.is_loaded = True
        self.is_enabled = False
        self.anchors: dict[str, list[str]] = {}

    def pfctl(self, argv: tuple[str, ...], stdin: bytes) -> Answer:
        """pfctl(8). The main rules are those that the recording had."""
        if not self.is_loaded:
            return refused("pfctl: /dev/pf: No such file or directory")
        if argv[1] == "-a":
            return self._of_anchors(argv, stdin)
        match argv[1:]:
            case ("-s", "info"):
                status = "Enabled for 0 days 00:00:00" if self.is_enabled else "Disabled"
                return Answer(f"Status: {status:<46}Debug: Urgent\n")
            case ("-ef", _):
                self.is_enabled = True
                return Answer(stderr="pf enabled\n")
            case ("-d",):
                self.is_enabled = False
                return Answer(stderr="pf disabled\n")
            case ("-sr",):
                return Answer('anchor "macula/*" all\npass all flags S/SA keep state\n')
        raise UntaughtCommand(argv)

    def _of_anchors(self, argv: tuple[str, ...], stdin: bytes) -> Answer:
        match argv[1:]:
            case ("-a", anchor, "-f", "-"):
                return self._load(anchor, stdin.decode())
            case ("-a", anchor, "-s", "nat"):
                return Answer("".join(f"{rule}\n" for rule in self.anchors.get(anchor, [])))
            case ("-a", pattern, "-s", "Anchors") if pattern.endswith("/*"):
                below = [name for name in sorted(self.anchors) if name.startswith(pattern[:-1])]
                return Answer("".join(f"  {name}\n" for name in below))
        raise UntaughtCommand(argv)

    def _load(self, anchor: str, text: str) -> Answer:
        translated: list[str] = []
        listed: list[str] = []
        for number, line in enumerate(text.splitlines(), 1):
            if _TRANSLATION.fullmatch(line):
                translated.append(line)
                continue
            match = _RULE.fullmatch(line)
            if match is None:
                return refused(f"stdin:{number}: syntax error\n{_REFUSED}")
            interface, protocol, to, port, address, inner = match.groups()
            tail = f" port {inner}" if inner else ""
            listed.append(
                f"rdr pass on {interface} inet proto {protocol} from any to {to}"
                f" port = {port} -> {address}{tail}"
            )
        self.anchors.pop(anchor, None)
        # Listed are first those of addresses, then the redirects, whatever the order was.
        if translated or listed:
            self.anchors[anchor] = translated + listed
        return Answer()
