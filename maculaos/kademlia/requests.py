"""What Kademlia asks of the node: requests and answers to send, and results.

The number of a request is unique among all that this node sends; an answer carries it back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from maculaos.identity import NodeId
from maculaos.kademlia.contact import Contact
from maculaos.kademlia.record import Record
from maculaos.kademlia.store import Verdict


@dataclass(frozen=True, slots=True)
class AskPing:
    """Ask a contact for a sign of life."""

    number: int
    contact: Contact


@dataclass(frozen=True, slots=True)
class AskNode:
    """Ask a contact for the contacts it knows closest to ``target`` (32 bytes)."""

    number: int
    contact: Contact
    target: bytes
    # Asked before, and not answered yet: another way may be open.
    is_again: bool = False


@dataclass(frozen=True, slots=True)
class AskValue:
    """Ask a contact for the records under ``key``, and for the contacts it knows closest."""

    number: int
    contact: Contact
    key: bytes
    is_again: bool = False


@dataclass(frozen=True, slots=True)
class AskStore:
    """Ask a contact to hold ``record``."""

    number: int
    contact: Contact
    record: Record
    is_again: bool = False


@dataclass(frozen=True, slots=True)
class AnswerPing:
    """A sign of life."""

    to: NodeId
    number: int


@dataclass(frozen=True, slots=True)
class AnswerNode:
    """At most k contacts, the closest first."""

    to: NodeId
    number: int
    contacts: tuple[Contact, ...]


@dataclass(frozen=True, slots=True)
class AnswerValue:
    """What is held under the key, as much as fits, and at most k contacts."""

    to: NodeId
    number: int
    records: tuple[Record, ...]
    contacts: tuple[Contact, ...]


@dataclass(frozen=True, slots=True)
class AnswerStore:
    """What came of a request to store."""

    to: NodeId
    number: int
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class LookupDone:
    """The k closest contacts that answered, the closest first.

    ``hops`` is how many requests, one after the other, led to the closest one's answer, its own
    included; ``asked`` how many were sent in all. An incomplete lookup ran into a bound.
    """

    number: int
    target: bytes
    contacts: tuple[Contact, ...]
    hops: int
    asked: int
    is_complete: bool


@dataclass(frozen=True, slots=True)
class ValueFound:
    """The newest record of each publisher under ``key``, genuine and alive; none means: none."""

    number: int
    key: bytes
    records: tuple[Record, ...]
    hops: int
    asked: int
    is_complete: bool


@dataclass(frozen=True, slots=True)
class RecordPlaced:
    """A record that this node publishes was offered to the closest nodes; ``copies`` took it."""

    key: bytes
    sequence: int
    copies: int


Ask: TypeAlias = AskPing | AskNode | AskValue | AskStore
Answer: TypeAlias = AnswerPing | AnswerNode | AnswerValue | AnswerStore
Result: TypeAlias = LookupDone | ValueFound | RecordPlaced
Output: TypeAlias = Ask | Answer | Result
