"""What the bundles share: data sets and folds, targets and instances, tiled inference, metrics, outputs and reports."""

__version__ = "0.1.0"
