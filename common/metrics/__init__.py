"""Scores of pixels, objects and classes, with intervals, and the tables that hold them."""
