"""The front of a machine: takes connections for apps, and passes each on to one of its instances.

A program of its own, ``python -m reconciler.front``, which outlives the reconciler. It reads the
files of ``reconciler.traffic`` and decides nothing but who gets the next connection. It knows no
protocol above TCP and UDP, no certificates and no names.
"""
