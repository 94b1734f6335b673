"""The grammars, sans-io: bytes in, facts and bytes out. One module a dialect."""
