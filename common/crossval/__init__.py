"""Cross-validation: the runs of all folds, and what all say together."""
