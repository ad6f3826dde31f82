"""Builds the appliance image from a checkout; never part of the installed packages.

It lives in ``build/``, which has no ``__init__.py``: a package named ``build`` would hide the
Python build tool of that name.
"""
