"""The cage: a small process of its own that runs commands for one parent and for nobody else.

Standard library alone, no network, not dumpable. `server` holds the clocks, the output and the word to the parent; for each
profile a `zygote` lives inside a view that bubblewrap built once, and forks a caged `call` for each command.
"""
