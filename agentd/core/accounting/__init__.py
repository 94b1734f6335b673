"""The sums: prices, budgets, canonical bytes, the chain. Integers and exact decimals only."""
