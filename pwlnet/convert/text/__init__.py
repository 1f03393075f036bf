"""Text formats (.nnet, .eran) to a graph."""
