"""Cine stacks of the heart: reading, cleaning, function."""
