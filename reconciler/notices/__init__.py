"""Notices: what came of a commit on this machine, told to those who look at the commit."""
