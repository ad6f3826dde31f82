"""The public way into the mesh for programs: publish, subscribe, call and answer through a node.

.. code-block:: python

    async with connect("/var/run/macula/n1.sock", name="thermostat") as mesh:
        await mesh.publish("room/temperature", {"celsius": 21.5})
        async for event in mesh.subscribe("room/setpoint"):
            print(event.publisher, event.payload)

Payloads are bytes or what JSON can say. One ``Mesh`` is one connection to the control socket of
one node on this machine; it belongs to one event loop. It does not reconnect: when the node
goes, everything that waits raises ``NodeUnreachable``, and the program connects again.
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
