"""Kernels for planes: a mesh of vertices, edges and faces that is cut by neurons, op by op."""
