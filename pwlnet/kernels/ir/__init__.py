"""The program as kernels read it, its ops, passes over it, and packed activation patterns."""
