"""Exact partitions of line segments."""
