"""Putting agentd on a box as a service, and taking it off again."""
