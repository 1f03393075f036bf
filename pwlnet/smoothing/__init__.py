"""Randomized smoothing: statistics of votes."""
