"""The token for one target of notices, from a file that nobody else may read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.sources.access import TOKEN_BYTES, check_token, read_guarded, read_secret

if TYPE_CHECKING:
    from reconciler.notices.settings import StatusTarget


def read_token(target: StatusTarget) -> str:
    """The token of ``target``, empty for none; raises ``SourceUnreachable`` for a bad file."""
    if target.ca_file is not None:
        read_guarded(target.ca_file, "ca_file")
    if target.token_file is None:
        return ""
    content = read_secret(target.token_file, "token_file", TOKEN_BYTES)
    check_token(target.token_file, content)
    return content.decode("ascii").strip()
