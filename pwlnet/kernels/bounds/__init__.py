"""Interval and linear bounds of all values of a network over a set of inputs."""
