"""agentd: the local control plane between an autonomous agent and the network."""

__version__ = "0.1.0"
