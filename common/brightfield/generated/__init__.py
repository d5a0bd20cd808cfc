"""Aggregates that no laboratory filmed."""
