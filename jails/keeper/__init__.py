"""The keeper: one small supervisor process per jail, the counterpart of FreeBSD's daemon(8).

Run as ``python -m jails.keeper DIRECTORY LAUNCH`` by ``jails.process``; the records through which
the two speak lie in the jail's directory. A keeper knows nothing of other jails, of the mesh or
of the reconciler, and outlives whoever started it.
"""
