"""What long work in a folder needs.

Locks, parts, files that are whole or not there, processes, reading ahead, splits, optional packages, Ray.
"""
