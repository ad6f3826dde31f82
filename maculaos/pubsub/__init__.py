"""Publish/subscribe on exact topics: who wants what, and what was seen before.

Pure tables. There are no patterns and no retained events; the node carries the events.
"""
