"""Scores of pixels, objects, classes and hearts, with intervals, and the tables that hold them."""
