"""Stained tissue: its stains, where nuclei can be in it, and where training patches are drawn."""
