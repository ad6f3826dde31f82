"""Load tests of the mesh: events at a chosen pace, with faults, and what came of them.

Cores say what to send when (``schedule``), what a payload carries (``stamps``), what was lost,
doubled or out of order (``checker``) and how long things took (``latencies``). Shells run nodes
(``fleet``) and programs (``programs``). Nothing here measures a node from within.
"""
