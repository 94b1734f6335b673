"""The thought: what the policy says about a request. Pure functions over frozen types."""
