"""The thought of the file gate: which act on which path."""
