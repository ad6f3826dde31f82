"""Making this node's records, and checking those of others, with what the shell hands in."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from maculaos.kademlia.record import Kind, Record, Signer, Verifier, node_key
from maculaos.kademlia.store import Verdict

if TYPE_CHECKING:
    from maculaos.identity import NodeId


@dataclass(slots=True)
class Notary:
    """Signs as this node, in its realm.

    ``credential`` goes into every record of this node; a renewed one takes its place.
    """

    realm: str
    credential: bytes
    sign: Signer
    verify: Verifier

    def sealed(self, draft: Record) -> Record:
        """The same record, with this node's credential and signature."""
        record = replace(draft, credential=self.credential)
        return replace(record, signature=self.sign(record.text(self.realm)))

    def check(self, record: Record, wall: float) -> Verdict:
        """Whether to believe ``record`` at the wall-clock time ``wall``, in seconds."""
        if record.kind == Kind.NODE and record.key != node_key(record.publisher):
            return Verdict.WRONG_KEY
        if record.remaining_s(wall) <= 0:
            return Verdict.EXPIRED
        if record.is_from_future(wall):
            return Verdict.FROM_FUTURE
        return Verdict.STORED if self.is_genuine(record) else Verdict.BAD_SIGNATURE

    def is_genuine(self, record: Record) -> bool:
        """Whether its publisher signed it, for this realm."""
        publisher: NodeId = record.publisher
        text = record.text(self.realm)
        return self.verify(publisher, record.credential, text, record.signature)
