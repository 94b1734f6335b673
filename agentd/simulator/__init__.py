"""An honest, labelled stand-in for OpenRouter: the contract, the prices, the faults; no intelligence."""
