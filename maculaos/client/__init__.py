"""The public way into the mesh for programs: publish, subscribe, call and answer through a node.

.. code-block:: python

    async with connect("/var/run/macula/n1.sock", name="thermostat") as mesh:
        await mesh.publish("room.temperature", {"celsius": 21.5})
        async for event in mesh.subscribe("room.*.setpoint"):
            print(event.topic, event.publisher, event.payload)

The node is the one of this machine, reached over its control socket, or one inside of the program:
``connect(embedded="node.yaml")``. Payloads are bytes or what JSON can say. A ``Mesh`` belongs to
one event loop. When its node goes, it looks for it, and subscriptions and registrations come back;
``connect(..., reconnect=False)`` raises ``NodeUnreachable`` wherever something waits instead.
``maculaos.client.blocking`` is the same for scripts. See docs/applications.md.
"""

from __future__ import annotations

from maculaos.client.connecting import SOCKET_VARIABLE, connect
from maculaos.client.failures import CallFailed, NodeUnreachable
from maculaos.client.mesh import Mesh
from maculaos.client.provider import Registration, caller, remaining
from maculaos.client.subscription import Event, Subscription
from maculaos.wire.values import Value

__all__ = [
    "SOCKET_VARIABLE",
    "CallFailed",
    "Event",
    "Mesh",
    "NodeUnreachable",
    "Registration",
    "Subscription",
    "Value",
    "caller",
    "connect",
    "remaining",
]
