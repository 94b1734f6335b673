"""The operator: `agentctl`. Speaks only to the operator socket."""
