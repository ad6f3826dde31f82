"""A model of a FreeBSD machine: it answers commands as a recorded 13.1 did, leftovers included.

``ModelHost`` is a ``CommandRunner``. It holds jails, interfaces, mounts, limits, packet filter
anchors, files and processes, and changes them as the commands say. What it was never taught is
an ``UntaughtCommand``: a failure of the test, as with ``ScriptedRunner``.
"""

from jails.freebsd.model.host import Crashed, ModelHost

__all__ = ["Crashed", "ModelHost"]
