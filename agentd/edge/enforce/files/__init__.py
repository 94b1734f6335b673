"""Files, by descriptors: what a permit lets happen to them, and what they held before."""
