"""The operator's desk: what a person may see and do. It reads the rooms of the way and never stands in a call's way."""
