"""The control socket: how programs of this machine reach their node, over a Unix socket.

It speaks the frames of the mesh (docs/protocol.md), and only the user of the node, or root, may
speak with it. This package carries bytes and keeps the bounds; what a message means, the node
decides. There is no encryption here: the file system says who may connect, the kernel says who
did.
"""

from __future__ import annotations

from maculaos.control.server import ControlObserver, ControlSocket
from maculaos.control.socket_file import AlreadyRunning

__all__ = ["AlreadyRunning", "ControlObserver", "ControlSocket"]
