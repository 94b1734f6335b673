"""Out: what a permit lets happen."""
