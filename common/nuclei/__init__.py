"""Nuclei one by one: what a network learns of them, how its maps become instances, what a run leaves."""
