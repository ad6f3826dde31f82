"""Kademlia: finds any node, topic or method of a realm in O(log n) requests, and keeps records.

Pure: ``kademlia`` joins the parts; nothing here opens a link or reads a clock.
"""
