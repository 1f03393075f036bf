"""Activation regions of boxes."""
