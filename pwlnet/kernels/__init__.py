"""Numba kernels: arrays in, arrays out. No classes, no validation, nothing of pwlnet above this package."""
