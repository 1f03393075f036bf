"""Activation regions in n dimensions."""
