"""Kernels of activation regions in n dimensions."""
