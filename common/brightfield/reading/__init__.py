"""Pictures, stacks and movies to frames, and their division by aggregate."""
