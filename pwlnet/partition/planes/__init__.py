"""Exact partitions of two-dimensional slices of the input space."""
