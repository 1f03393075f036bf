"""Readers of properties: boxes of inputs with conditions on outputs, from files."""
