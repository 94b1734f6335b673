"""The pure room: no I/O, no clock, no chance, no logging, nothing async. Same input, same answer."""
