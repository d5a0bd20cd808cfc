"""A generated heart with known truth, as pixels and as files."""
