"""Brightfield and phase contrast of aggregates: few images to train on, frames and movies to measure."""
