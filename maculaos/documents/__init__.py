"""Documents: YAML that people and machines write, read without trust and checked by type.

``read_document`` turns bytes into a typed value or into every problem at once, each with its
line and column. It opens no files, resolves no paths and knows no particular document; the
types say what may stand in one (see ``maculaos.settings``).
"""

from __future__ import annotations

from maculaos.documents.check import Document, check_tree, read_document
from maculaos.documents.problem import InvalidDocument, Problem
from maculaos.documents.tree import MAX_DEPTH, MAX_NODES, MAX_SIZE, Place, Plain, Tree, plant

__all__ = [
    "MAX_DEPTH",
    "MAX_NODES",
    "MAX_SIZE",
    "Document",
    "InvalidDocument",
    "Place",
    "Plain",
    "Problem",
    "Tree",
    "check_tree",
    "plant",
    "read_document",
]
