"""The decider of one mesh node: events in, effects out; no sockets, no clock, no log.

``Node`` joins the cores (membership, publish/subscribe, calls, dials) and is the only place that
turns their words into wire messages and back.
"""

from maculaos.node.links import Introduction
from maculaos.node.node import Node

__all__ = ["Introduction", "Node"]
