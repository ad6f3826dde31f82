"""Publish/subscribe: patterns and who wants what, mailboxes, groups, and at least once.

Pure tables and machines, each for one question; the node joins them, and carries the events.
"""
