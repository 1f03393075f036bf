"""Kernels for fixed and float neurons: random points from counters, states at these, and at pairs of points."""
