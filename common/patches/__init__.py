"""Images classified by their patches: where patches lie, how they vote, what a run leaves."""
