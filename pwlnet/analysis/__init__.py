"""Analyses of networks along lines: attributions, sampling errors, linearity, decision boundaries; and their statistics."""
