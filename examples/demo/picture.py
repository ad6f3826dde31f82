"""A picture of the live view, drawn by the same code from what a running demo says of itself."""

from __future__ import annotations

import io
import json
import os
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from rich.console import Console

from maculaos.errors import UsageError
from reconciler.activity import Snapshot
from reconciler.view import render

if TYPE_CHECKING:
    from collections.abc import Sequence

    from demo.site import Site

WIDTH: Final = 118
TITLE: Final = "make up"


def draw(site: Site, hints: Sequence[str]) -> str:
    """The live view as SVG, as it stood when the status was written last."""
    file = site.state / "status.json"
    if not file.exists():
        raise UsageError(f"there is nothing to draw in {site.root}", "run make up meanwhile")
    snapshot = Snapshot.from_json(json.loads(file.read_text()))
    console = Console(width=WIDTH, record=True, file=io.StringIO(), force_terminal=True)
    # The reader's checkout lies elsewhere.
    status = replace(snapshot.status, url=os.path.relpath(snapshot.status.url))
    console.print(render(replace(snapshot, status=status), snapshot.status.at, hints))
    # A picture in a document loads no fonts from elsewhere: leave out what it would ask for.
    return re.sub(r"@font-face \{.*?\}\s*", "", console.export_svg(title=TITLE), flags=re.DOTALL)
