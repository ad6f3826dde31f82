"""The main job on a laptop: seed a Git repository, start the reconciler, watch it converge.

Part of the checkout, not of the installed packages: run it with ``make up``, ``make up-check``
and ``make down``. It decides nothing about meshes or jails; it only plays the operator.
"""
