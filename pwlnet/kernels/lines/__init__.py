"""Exact breakpoints of lines by the slope-change method."""
