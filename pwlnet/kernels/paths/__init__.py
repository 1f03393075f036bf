"""Kernels of fixed and float paths."""
