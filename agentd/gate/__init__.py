"""The way: the steps in their order. Asyncio, but no sockets, files or database; those come through `ports`."""
