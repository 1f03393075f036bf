"""Exact partitions: of lines."""
