"""Class maps to objects, in one frame and along time, and their shape."""
