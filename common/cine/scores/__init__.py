"""Scores of predicted stacks: every frame and volume, their summary with intervals, and the tables that hold them."""
