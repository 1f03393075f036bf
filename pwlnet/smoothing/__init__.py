"""Randomized smoothing of piecewise-linear classifiers, with and without repression of float neurons."""
