"""In: sockets, who is calling, HTTP."""
