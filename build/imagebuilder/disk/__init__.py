"""Disks: from file system images to a bootable disk, its formats, signatures and update bundles.

Needs neither root nor loop devices nor FreeBSD tools. What lies in the file systems is decided
elsewhere; here they are files of bytes.
"""
