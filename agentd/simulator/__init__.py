"""An honest, labelled stand-in for OpenRouter: the contract, the prices, the faults; no intelligence.

`simulator_app(SimulatorConfig(catalogue, wall_ns))` gives the aiohttp application, `app[BOOKS]` its books.
`python -m agentd.simulator --unix PATH` runs it alone. How a prompt directs it: `agentd.simulator.directives`.
"""

from agentd.simulator.app import BOOKS, simulator_app
from agentd.simulator.config import SimulatorConfig

__all__ = ["BOOKS", "SimulatorConfig", "simulator_app"]
"""What a host of the simulator needs."""
