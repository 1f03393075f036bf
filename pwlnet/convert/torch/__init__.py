"""PyTorch modules to a graph."""
