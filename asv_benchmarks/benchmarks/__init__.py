"""Benchmarks of pwlnet, run by asv; ``make bench`` runs each once."""
