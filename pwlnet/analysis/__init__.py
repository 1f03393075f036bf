"""What one asks of a network: decision boundaries, attributions."""
