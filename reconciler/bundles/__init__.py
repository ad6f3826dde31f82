"""Bundles: a branch in one file, for sites that are reached by media carried by hand."""
