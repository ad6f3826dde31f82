"""The packet filter of the model, and pfctl(8): anchors with redirects, loaded whole or not."""

from __future__ import annotations

import re

from jails.freebsd.model.answer import Answer, UntaughtCommand, refused

_RULE = re.compile(
    r"rdr pass on (\S+) inet proto (\S+) to (\(\S+\)) port (\d+) -> (\S+)(?: port (\d+))?"
)
_REFUSED = "pfctl: Syntax error in config file: pf rules not loaded"


class Firewall:
    """Listed rules by anchor; an anchor without rules is not listed."""

    def __init__(self) -> None:
        self.is_enabled = False
        self.anchors: dict[str, list[str]] = {}

    def pfctl(self, argv: tuple[str, ...], stdin: bytes) -> Answer:
        """pfctl(8). The main rules are those that the recording had."""
        match argv[1:]:
            case ("-ef", _):
                self.is_enabled = True
                return Answer(stderr="pf enabled\n")
            case ("-d",):
                self.is_enabled = False
                return Answer(stderr="pf disabled\n")
            case ("-sr",):
                return Answer('anchor "macula/*" all\npass all flags S/SA keep state\n')
            case ("-a", anchor, "-f", "-"):
                return self._load(anchor, stdin.decode())
            case ("-a", anchor, "-s", "nat"):
                return Answer("".join(f"{rule}\n" for rule in self.anchors.get(anchor, [])))
            case ("-a", pattern, "-s", "Anchors") if pattern.endswith("/*"):
                below = [name for name in sorted(self.anchors) if name.startswith(pattern[:-1])]
                return Answer("".join(f"  {name}\n" for name in below))
        raise UntaughtCommand(argv)

    def _load(self, anchor: str, text: str) -> Answer:
        listed = []
        for number, line in enumerate(text.splitlines(), 1):
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
        if listed:
            self.anchors[anchor] = listed
        return Answer()
