"""Data-set layouts to records, truth to masks, and folds by patient."""
