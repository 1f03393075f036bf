"""Activation regions of boxes with few free inputs: cells that are cut by one neuron after another."""
