"""Kademlia of one node, without its sockets: events come in by methods, outputs are taken out.

Every method takes the monotonic time ``now``; what it wants done waits in ``outputs``. The node
must only bring contacts that were authenticated as members of the realm: they alone enter the
routing table. Contacts and records inside answers are hearsay, and treated as such.

This module joins the parts; it decides neither how a message looks nor over which links it goes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from maculaos.kademlia.counters import Counters, Gauges
from maculaos.kademlia.custody import Custody
from maculaos.kademlia.distance import ID_BYTES
from maculaos.kademlia.exchanges import Exchange, Exchanges, Question
from maculaos.kademlia.lookup import Lookup
from maculaos.kademlia.placements import Placement, Placements
from maculaos.kademlia.publications import Publications
from maculaos.kademlia.rates import Allowance
from maculaos.kademlia.requests import (
    AnswerNode,
    AnswerPing,
    AnswerStore,
    AnswerValue,
    AskNode,
    AskPing,
    AskStore,
    AskValue,
    Output,
)
from maculaos.kademlia.searches import Findings, Purpose, Search, Searches
from maculaos.kademlia.store import Verdict
from maculaos.kademlia.table import RoutingTable
from maculaos.kademlia.upkeep import Upkeep

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

    from maculaos.identity import NodeId
    from maculaos.kademlia.contact import Contact
    from maculaos.kademlia.record import Kind, Record
    from maculaos.kademlia.settings import KademliaSettings
    from maculaos.kademlia.signing import Notary

# Records given to the closest node that had none, after a search for values.
CACHED_RECORDS: Final = 4


class Kademlia:
    """What one node, ``me``, knows of others, looks up, and holds for them."""

    def __init__(
        self,
        me: Contact,
        notary: Notary,
        settings: KademliaSettings,
        rng: random.Random,
        now: float,
    ) -> None:
        self.me = me
        self.counters = Counters()
        self.table = RoutingTable(me.node_id, settings.k)
        self.custody = Custody(self.table, notary, settings, rng)
        self._settings = settings
        self._exchanges = Exchanges(settings.request_timeout_s, settings.slow_after_s)
        self._searches = Searches(settings)
        self._placements = Placements()
        self._publications = Publications(me.node_id, notary, settings, rng)
        self._upkeep = Upkeep(self.table, settings, rng, now)
        self._requests = Allowance(settings.peer_requests)
        self._stores = Allowance(settings.peer_stores)
        self._outputs: list[Output] = []
        self._is_at_upkeep = False

    # What the node learns of others.

    def set_wall_clock(self, wall: float, now: float) -> None:
        """It is ``wall`` seconds since the epoch at ``now``; records are judged by that."""
        self.custody.wall_offset = wall - now

    def see(self, contact: Contact, now: float) -> None:
        """A node that was authenticated in this realm spoke, or a link to it came up."""
        if self.table.see(contact, now):
            self._welcome(contact, now)
        elif pinged := self.table.ping_due(contact, self._settings.ping_interval_s, now):
            self._ping(pinged, now)

    def gone(self, node_id: NodeId, now: float) -> None:
        """That node is known to have died or left."""
        self.table.forget(int.from_bytes(node_id))
        self._run_upkeep(now)

    # What the node wants.

    def join(self, now: float) -> int:
        """Look up the own node id, then fill the other buckets; the number of the lookup.

        It begins by itself when the first contact is seen.
        """
        return self._search(Purpose.JOIN, self.me.node_id, now).number

    def find_node(self, target: bytes, now: float) -> int:
        """Look for the nodes closest to ``target`` (32 bytes); ``LookupDone`` tells."""
        return self._search(Purpose.FIND_NODE, target, now).number

    def find_value(self, key: bytes, now: float, *, enough: int = 0) -> int:
        """Look for the records under ``key``; ``ValueFound`` tells.

        With ``enough`` the search ends as soon as so many publishers are known. A newer word of
        one of them may then be missed.
        """
        return self._search(Purpose.FIND_VALUE, key, now, enough=enough).number

    def publish(self, kind: Kind, key: bytes, value: bytes, now: float) -> Record:
        """Say ``value`` under ``key`` until it is withdrawn. Raises ``CannotPublish``."""
        record = self._publications.add(kind, key, value, now, now + self.custody.wall_offset)
        self.store(record, now)
        return record

    def withdraw(self, key: bytes, now: float) -> bool:
        """Take back what this node says under ``key``; whether it said anything."""
        record = self._publications.withdraw(key, now + self.custody.wall_offset)
        if record is not None:
            self.store(record, now)
        return record is not None

    def store(self, record: Record, now: float) -> None:
        """Give a sealed record to the k closest nodes, once; ``RecordPlaced`` tells."""
        self._upkeep.place(record)
        self._run_upkeep(now)

    # What others ask.

    def receive_ping(self, sender: Contact, number: int, now: float) -> None:
        """An authenticated node wants a sign of life."""
        if self._admits(sender, now):
            self._outputs.append(AnswerPing(sender.node_id, number))

    def receive_find_node(self, sender: Contact, number: int, target: bytes, now: float) -> None:
        """An authenticated node wants the contacts closest to ``target``."""
        if self._admits(sender, now) and len(target) == ID_BYTES:
            contacts = self._closest_for(sender, target)
            self._outputs.append(AnswerNode(sender.node_id, number, contacts))

    def receive_find_value(self, sender: Contact, number: int, key: bytes, now: float) -> None:
        """An authenticated node wants the records under ``key``."""
        if self._admits(sender, now) and len(key) == ID_BYTES:
            self.custody.store.expire(now)
            records = self.custody.answer(key)
            contacts = self._closest_for(sender, key)
            self._outputs.append(AnswerValue(sender.node_id, number, records, contacts))

    def receive_store(self, sender: Contact, number: int, record: Record, now: float) -> None:
        """An authenticated node wants ``record`` to be held."""
        if not self._admits(sender, now):
            return
        verdict = Verdict.BUSY
        if self._stores.take(sender.node_id, now):
            self.custody.store.expire(now)
            verdict = self.custody.offer(record, sender.node_id, now)
        self.counters.verdicts[verdict] += 1
        self._outputs.append(AnswerStore(sender.node_id, number, verdict))

    # What others answer.

    def receive_pong(self, sender: Contact, number: int, now: float) -> None:
        """An answer to ``AskPing``."""
        self._take_answer(Question.PING, sender, number, now)

    def receive_nodes(
        self, sender: Contact, number: int, contacts: Sequence[Contact], now: float
    ) -> None:
        """An answer to ``AskNode``."""
        exchange = self._take_answer(Question.NODES, sender, number, now)
        if exchange and (search := self._searches.under_way.get(exchange.job)):
            search.lookup.answer(sender.position, contacts)
            self._step(search, now)

    def receive_values(
        self,
        sender: Contact,
        number: int,
        answer: tuple[Sequence[Record], Sequence[Contact]],
        now: float,
    ) -> None:
        """An answer to ``AskValue``: records, and contacts."""
        exchange = self._take_answer(Question.VALUES, sender, number, now)
        if exchange and (search := self._searches.under_way.get(exchange.job)):
            records, contacts = answer
            self._take_records(search, records, sender.position, now)
            search.lookup.answer(sender.position, contacts)
            self._step(search, now)

    def receive_stored(self, sender: Contact, number: int, verdict: Verdict, now: float) -> None:
        """An answer to ``AskStore``."""
        if exchange := self._take_answer(Question.STORE, sender, number, now):
            self._settle(exchange, is_stored=verdict is Verdict.STORED)

    def failed(self, number: int, now: float) -> None:
        """That request cannot be sent, or will not be answered."""
        if exchange := self._exchanges.take(number):
            self._fail(exchange, now)
        self._run_upkeep(now)

    # Time.

    def advance(self, now: float) -> None:
        """Do what is due."""
        for exchange in self._exchanges.expire(now):
            self._fail(exchange, now)
        for exchange in self._exchanges.slow(now):
            self._pass_over(exchange, now)
        self.custody.store.expire(now)
        for record in self._publications.due(now, now + self.custody.wall_offset):
            self._upkeep.place(record)
        if self._upkeep.look(now):
            self._replicate(now)
        if self.custody.has_handovers:
            for newcomer, record in self.custody.handovers(self._free_requests):
                self._ask_to_store(newcomer, record, 0, now)
        self._run_upkeep(now)

    def next_deadline(self) -> float:
        """When ``advance`` has something to do, in monotonic seconds."""
        if self.custody.has_handovers and self._free_requests:
            return 0.0
        return min(
            self._exchanges.next_deadline(),
            self._upkeep.next_deadline(),
            self._publications.next_deadline(),
            self.custody.store.next_deadline(),
        )

    def outputs(self) -> list[Output]:
        """Take what is to be sent and told, in order."""
        taken, self._outputs = self._outputs, []
        return taken

    def gauges(self) -> Gauges:
        """How full everything is."""
        return Gauges(
            contacts=len(self.table),
            lookups=len(self._searches.under_way),
            waiting=len(self._exchanges),
            queued=len(self._upkeep),
            records=len(self.custody.store),
            record_bytes=self.custody.store.bytes_held,
            publications=len(self._publications),
        )

    @property
    def _free_requests(self) -> int:
        return max(0, self._settings.requests - len(self._exchanges))

    def _welcome(self, contact: Contact, now: float) -> None:
        """A new contact: the first one is the way in; a near one may be owed records."""
        if len(self.table) == 1:
            self.join(now)
        near = self.table.closest(self.table.me, self._settings.k)
        if contact.position ^ self.table.me <= near[-1].position ^ self.table.me:
            self.custody.welcome(contact)

    def _admits(self, sender: Contact, now: float) -> bool:
        """Whether to answer a request of ``sender``."""
        self.see(sender, now)
        is_allowed = self._requests.take(sender.node_id, now)
        self.counters.refused_requests += not is_allowed
        return is_allowed

    def _closest_for(self, sender: Contact, target: bytes) -> tuple[Contact, ...]:
        k = self._settings.k
        contacts = self.table.closest(int.from_bytes(target), k + 1)
        return tuple(each for each in contacts if each.position != sender.position)[:k]

    def _search(
        self,
        purpose: Purpose,
        target: bytes,
        now: float,
        *,
        enough: int = 0,
        record: Record | None = None,
    ) -> Search:
        position = int.from_bytes(target)
        start = self.table.closest(position, self._settings.k)
        lookup = Lookup(position, start, self.table.me, self._settings)
        findings = Findings(target, 4 * self._settings.records_per_key)
        number = self._searches.next_number()
        search = Search(number, purpose, target, lookup, findings, enough, record)
        self.counters.lookups += 1
        self.table.touch(position, now)
        has_room = self._searches.has_room(purpose)
        self._searches.add(search)
        if purpose is Purpose.FIND_VALUE:
            self._take_records(search, self.custody.store.records(target), None, now)
        if has_room:
            self._step(search, now)
        else:
            self.counters.lookups_refused += 1
            self._finish(search, now)
        return search

    def _step(self, search: Search, now: float) -> None:
        """Ask on, or finish."""
        if search.is_done:
            self._finish(search, now)
            return
        is_for_value = search.purpose is Purpose.FIND_VALUE
        question = Question.VALUES if is_for_value else Question.NODES
        for candidate in search.lookup.next():
            # Addresses that a contact proved go before those somebody says it has.
            contact = self.table.get(candidate.position) or candidate
            number = self._exchanges.open(question, contact, search.number, now)
            ask = AskValue if is_for_value else AskNode
            self._outputs.append(ask(number, contact, search.target))
            self.counters.requests += 1

    def _finish(self, search: Search, now: float) -> None:
        self._searches.remove(search)
        match search.purpose:
            case Purpose.FIND_NODE:
                self._outputs.append(search.lookup_done())
            case Purpose.FIND_VALUE:
                self._cache(search, now)
                self._outputs.append(search.value_found())
            case Purpose.JOIN:
                self._upkeep.refresh(self.table.missing())
                # What was published before had nobody to go to, or the wrong ones.
                self._publications.hurry(now)
                self._outputs.append(search.lookup_done())
            case Purpose.PLACE if search.record is not None:
                self._place(search.number, search.record, search.lookup.closest(), now)
        self._run_upkeep(now)

    def _take_records(
        self, search: Search, records: Sequence[Record], source: int | None, now: float
    ) -> None:
        """Take in what is said under the key; a ``source`` with nothing to say lacks it."""
        if source is not None and not records:
            search.findings.lacking[source] = None
        before = search.findings.refused
        bound = 4 * self._settings.records_per_key
        search.findings.take_in(records[:bound], lambda record: self.custody.check(record, now))
        self.counters.refused_findings += search.findings.refused - before

    def _cache(self, search: Search, now: float) -> None:
        """The closest node that had nothing gets a few records: it is asked first next time."""
        nearest = search.lookup.closest()[:1]
        if nearest and nearest[0].position in search.findings.lacking:
            for record in search.findings.living()[:CACHED_RECORDS]:
                self._ask_to_store(nearest[0], record, 0, now)

    def _place(self, job: int, record: Record, nearest: Sequence[Contact], now: float) -> None:
        """Offer ``record`` to the k closest nodes, of which this one may be one."""
        placement = Placement(record)
        key = int.from_bytes(record.key)
        if len(nearest) < self._settings.k or nearest[-1].position ^ key > self.table.me ^ key:
            verdict = self.custody.offer(record, self.me.node_id, now)
            self.counters.verdicts[verdict] += 1
            placement.copies += verdict is Verdict.STORED
        for contact in nearest:
            placement.waiting += self._ask_to_store(contact, record, job, now)
        if result := self._placements.begin(job, placement):
            self._outputs.append(result)

    def _replicate(self, now: float) -> None:
        """Give the k closest once more what nobody repeated for long."""
        k = self._settings.k
        for record in self.custody.due(now, self._free_requests // k):
            for contact in self.table.closest(int.from_bytes(record.key), k):
                self._ask_to_store(contact, record, 0, now)

    def _ask_to_store(self, contact: Contact, record: Record, job: int, now: float) -> bool:
        """Ask for it, unless too many requests wait already."""
        if not self._free_requests:
            self.counters.requests_dropped += 1
            return False
        number = self._exchanges.open(Question.STORE, contact, job, now)
        self._outputs.append(AskStore(number, contact, record))
        self.counters.requests += 1
        return True

    def _ping(self, contact: Contact, now: float) -> None:
        if not self._free_requests:
            self.counters.requests_dropped += 1
            return
        number = self._exchanges.open(Question.PING, contact, 0, now)
        self._outputs.append(AskPing(number, contact))
        self.counters.requests += 1

    def _take_answer(
        self, question: Question, sender: Contact, number: int, now: float
    ) -> Exchange | None:
        """The request that this answers; a stray answer counts for nothing but for life."""
        exchange = self._exchanges.answer(number, question, sender.position)
        self.see(sender, now)
        if exchange is None:
            self.counters.strays += 1
        else:
            self.counters.answers += 1
        return exchange

    def _fail(self, exchange: Exchange, now: float) -> None:
        self.counters.failures += 1
        if not self._settings.is_fed:
            # Else somebody else knows who is alive, and says when a contact is gone.
            self.table.fail(exchange.contact.position)
        if search := self._searches.under_way.get(exchange.job):
            search.lookup.fail(exchange.contact.position)
            self._step(search, now)
        self._settle(exchange, is_stored=False)

    def _pass_over(self, exchange: Exchange, now: float) -> None:
        """A slow answer holds up no lookup; it is asked for once more, for it may be lost."""
        if search := self._searches.under_way.get(exchange.job):
            search.lookup.slow(exchange.contact.position)
            ask = AskValue if search.purpose is Purpose.FIND_VALUE else AskNode
            again = ask(exchange.number, exchange.contact, search.target, is_again=True)
            self._outputs.append(again)
            self._step(search, now)

    def _settle(self, exchange: Exchange, *, is_stored: bool) -> None:
        """One copy of a placement is stored, or is not."""
        if exchange.question is Question.STORE:
            result = self._placements.settle(exchange.job, is_stored=is_stored)
            if result is not None:
                self._outputs.append(result)

    def _run_upkeep(self, now: float) -> None:
        """Start the lookups that are due, as many as may run."""
        # One that ends at once comes back here: the loop goes on, and does not nest.
        if self._is_at_upkeep:
            return
        self._is_at_upkeep = True
        while self._searches.has_room(Purpose.REFRESH) and self._start_upkeep(now):
            pass
        self._is_at_upkeep = False

    def _start_upkeep(self, now: float) -> bool:
        """Start the next lookup that is due, if one is; records to place go first."""
        if (record := self._upkeep.take_placement()) is not None:
            self._search(Purpose.PLACE, record.key, now, record=record)
            return True
        refresh = self._upkeep.take_refresh()
        if refresh is None:
            return False
        index, position = refresh
        for contact in self.table.doubtful(index):
            self._ping(contact, now)
        self._search(Purpose.REFRESH, position.to_bytes(ID_BYTES), now)
        return True
