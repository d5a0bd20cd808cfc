"""Cross-validation: the split of one run, the runs of all folds, what all say together."""
