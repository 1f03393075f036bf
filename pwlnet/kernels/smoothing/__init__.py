"""Kernels for randomized smoothing: forward passes in which float neurons are repressed."""
