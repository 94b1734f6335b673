"""What agentd costs, beside the least that a proxy can cost and beside other gateways, in one interleaved run.

`make bench` runs it; `docs/performance.md` says how to read it. Every figure is taken in rounds in which each target has its
turn, in rotating order, so that a noisy machine disturbs all of them alike: trust the ratios, not the milliseconds.
"""
