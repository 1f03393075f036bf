"""ONNX files to a graph."""
