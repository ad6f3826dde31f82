"""The distributed table of this node: what Kademlia asks travels as messages, and back.

Members are contacts: membership vouches for them, and says when they are gone, so that liveness
needs no questions of its own. Whoever looks for something gets a number, and hears the result
through ``take_results``.
"""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from maculaos.effects import Effect, RecordsFound
from maculaos.errors import RemoteProtocolError
from maculaos.kademlia.contact import Contact
from maculaos.kademlia.kademlia import Kademlia
from maculaos.kademlia.methods import MethodRegistry
from maculaos.kademlia.publications import CannotPublish
from maculaos.kademlia.requests import (
    AnswerNode,
    AnswerPing,
    AnswerStore,
    AnswerValue,
    AskNode,
    AskPing,
    AskStore,
    AskValue,
    Result,
    ValueFound,
)
from maculaos.kademlia.store import Verdict
from maculaos.kademlia.topics import TopicRegistry
from maculaos.node.entries import (
    contacts_from_wire,
    contacts_to_wire,
    record_from_wire,
    record_to_wire,
    records_from_wire,
)
from maculaos.wire.table import FindNode, FindValue, Nodes, Store, Stored, Values

if TYPE_CHECKING:
    import random
    from collections.abc import Iterable

    from maculaos.identity import NodeId
    from maculaos.kademlia.record import Kind
    from maculaos.kademlia.requests import Answer, Ask
    from maculaos.kademlia.settings import KademliaSettings
    from maculaos.kademlia.signing import Notary
    from maculaos.node.links import Link
    from maculaos.node.relay import Relay
    from maculaos.swim.membership import Membership
    from maculaos.swim.rumour import Rumour
    from maculaos.wire.messages import Message

    Question = FindNode | FindValue | Store
    Reply = Nodes | Values | Stored


_TOPIC: Final = "topic"
_METHOD: Final = "method"


class Directory:
    """Who is where, who wants which topic and who answers which method; monotonic seconds."""

    def __init__(
        self,
        membership: Membership,
        relay: Relay,
        notary: Notary,
        settings: KademliaSettings,
        rng: random.Random,
        now: float,
    ) -> None:
        me = membership.me
        self._members = membership.members
        self._relay = relay
        # Membership knows everybody: lookups to fill the table would only ask for what it holds.
        fed = replace(settings, is_fed=True)
        self.kademlia = Kademlia(_contact(me), notary, fed, rng, now)
        self.topics = TopicRegistry(self.kademlia)
        self.methods = MethodRegistry(self.kademlia)
        self._results: list[Result] = []
        # Searches for records that the shell asked for, and their keys.
        self._asked: dict[int, bytes] = {}
        # The link that the question of each asker came in on, until ``carry`` answered it.
        self._came_over: dict[NodeId, Link] = {}
        # Something happened since ``carry``.
        self.is_touched = False
        # What this node says of itself and has not published yet; the last word counts.
        self._news: dict[tuple[str, str], bool] = {}

    def member_changed(self, before: Rumour | None, after: Rumour, now: float) -> None:
        """The view of another member changed."""
        self.is_touched = True
        if after.health.is_gone:
            if before is None or not before.health.is_gone:
                self.kademlia.gone(after.node_id, now)
        elif before is None or before.health.is_gone or before.addresses != after.addresses:
            self.kademlia.see(_contact(after), now)

    def moved(self, addresses: tuple[str, ...]) -> None:
        """This node is to be dialled at these addresses now."""
        self.kademlia.me = replace(self.kademlia.me, addresses=addresses)

    def find_node(self, target: NodeId, now: float) -> int:
        """Look for the members closest to ``target``; the number of the search."""
        self.is_touched = True
        return self.kademlia.find_node(target, now)

    def find_topic(self, topic: str, now: float) -> int:
        """Look for all who want ``topic``; the number of the search."""
        self.is_touched = True
        return self.topics.find(topic, now)

    def find_method(self, method: str, now: float, *, enough: int = 0) -> int:
        """Look for who answers ``method``, or for so many of them; the number of the search."""
        self.is_touched = True
        return self.methods.find(method, now, enough=enough)

    def find_records(self, key: bytes, now: float) -> None:
        """Look for what is said under ``key``; ``carry`` tells in an effect."""
        self.is_touched = True
        self._asked[self.kademlia.find_value(key, now)] = key

    def say(self, kind: Kind, key: bytes, value: bytes, now: float) -> None:
        """Say ``value`` under ``key``, until something else is said there."""
        self.is_touched = True
        with suppress(CannotPublish):
            self.kademlia.publish(kind, key, value, now)

    def announce(self, topics: Iterable[str], methods: Iterable[str]) -> None:
        """This node wants these topics and answers these methods, from now on."""
        self.is_touched = True
        for name in topics:
            self._news[_TOPIC, name] = True
        for name in methods:
            self._news[_METHOD, name] = True

    def withdraw(self, topics: Iterable[str], methods: Iterable[str]) -> None:
        """Not any more."""
        self.is_touched = True
        for name in topics:
            self._news[_TOPIC, name] = False
        for name in methods:
            self._news[_METHOD, name] = False

    def receive(
        self, sender: NodeId, message: Question | Reply, now: float, link: Link | None = None
    ) -> None:
        """A member asks or answers, in an envelope that came over ``link`` if it names one.

        Raises ``RemoteProtocolError`` for what makes no sense.
        """
        self.is_touched = True
        if link is not None:
            self._came_over[sender] = link
        member = self._members.get(sender)
        contact = Contact(sender) if member is None else _contact(member)
        if isinstance(message, FindNode | FindValue | Store):
            self._hear_question(contact, message, now)
        else:
            self._hear_reply(contact, message, now)

    def advance(self, now: float) -> None:
        """Do what is due."""
        if self.next_deadline() <= now:
            self.is_touched = True
            self.kademlia.advance(now)

    def next_deadline(self) -> float:
        """When ``advance`` has something to do; infinity while this node is alone."""
        kademlia = self.kademlia
        # The last contact may be gone while somebody still waits for its answer.
        is_alone = not len(kademlia.table) and not kademlia.gauges().waiting
        return math.inf if is_alone else kademlia.next_deadline()

    def carry(self, now: float) -> list[Effect]:
        """What is to be sent; results are kept for ``take_results``."""
        self.is_touched = False
        if self._news:
            self._publish(now)
        effects: list[Effect] = []
        while outputs := self.kademlia.outputs():
            for output in outputs:
                match output:
                    case AskPing(number, contact):
                        self._vouch(number, contact, now)
                    case AskNode() | AskValue() | AskStore():
                        effects += self._ask(output, now)
                    case AnswerPing() | AnswerNode() | AnswerValue() | AnswerStore():
                        effects += self._answer(output)
                    case ValueFound() if output.number in self._asked:
                        values = tuple(each.value for each in output.records)
                        effects.append(RecordsFound(self._asked.pop(output.number), values))
                    case _:
                        self._results.append(output)
        self._came_over.clear()
        return effects

    def take_results(self) -> list[Result]:
        """What searches came to since the last time."""
        results, self._results = self._results, []
        return results

    def _publish(self, now: float) -> None:
        """As much as a node may publish; more is still found by its neighbours."""
        news, self._news = self._news, {}
        for (kind, name), is_so in news.items():
            if kind == _TOPIC and not is_so:
                self.topics.leave(name, now)
            elif not is_so:
                self.methods.withdraw(name, now)
            else:
                with suppress(CannotPublish):
                    self.topics.join(name, now) if kind == _TOPIC else self.methods.offer(name, now)

    def _hear_question(self, sender: Contact, message: Question, now: float) -> None:
        match message:
            case FindNode():
                self.kademlia.receive_find_node(sender, message.request, message.target, now)
            case FindValue():
                self.kademlia.receive_find_value(sender, message.request, message.key, now)
            case Store():
                record = record_from_wire(message.record)
                self.kademlia.receive_store(sender, message.request, record, now)

    def _hear_reply(self, sender: Contact, message: Reply, now: float) -> None:
        match message:
            case Nodes():
                contacts = contacts_from_wire(message.contacts)
                self.kademlia.receive_nodes(sender, message.request, contacts, now)
            case Values():
                found = records_from_wire(message.records), contacts_from_wire(message.contacts)
                self.kademlia.receive_values(sender, message.request, found, now)
            case Stored():
                self.kademlia.receive_stored(sender, message.request, _verdict(message), now)

    def _vouch(self, number: int, contact: Contact, now: float) -> None:
        """Membership knows who is alive: nobody needs to be asked."""
        if self._members.is_present(contact.node_id):
            self.kademlia.receive_pong(contact, number, now)
        else:
            self.kademlia.failed(number, now)

    def _ask(self, ask: Ask, now: float) -> list[Effect]:
        question: Message
        match ask:
            case AskNode():
                question = FindNode(ask.number, ask.target)
            case AskValue():
                question = FindValue(ask.number, ask.key)
            case AskStore():
                question = Store(ask.number, record_to_wire(ask.record))
            case _:
                return []
        effects = self._relay.send(ask.contact.node_id, question, is_again=ask.is_again)
        if not effects:
            self.kademlia.failed(ask.number, now)
        return effects

    def _answer(self, answer: Answer) -> list[Effect]:
        reply: Message
        match answer:
            case AnswerNode():
                reply = Nodes(answer.number, contacts_to_wire(answer.contacts))
            case AnswerValue():
                records = tuple(map(record_to_wire, answer.records))
                reply = Values(answer.number, records, contacts_to_wire(answer.contacts))
            case AnswerStore():
                reply = Stored(answer.number, int(answer.verdict))
            case _:
                return []
        return self._relay.send(answer.to, reply, back_over=self._came_over.get(answer.to))


def _contact(member: Rumour) -> Contact:
    return Contact(member.node_id, member.addresses)


def _verdict(message: Stored) -> Verdict:
    try:
        return Verdict(message.verdict)
    except ValueError as error:
        raise RemoteProtocolError(f"verdict {message.verdict}") from error
