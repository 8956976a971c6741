"""Loops of the language model that numba compiles; imported where numba is."""
