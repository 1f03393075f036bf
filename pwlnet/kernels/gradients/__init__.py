"""Gradients along a line, updated by a rank-one matrix where a neuron changes state."""
