"""Judging what a shell command would do, by reading it: pure and total, for every string there is an answer."""
