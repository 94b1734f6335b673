"""What tests share: a real daemon in a process of its own, HTTP over its sockets, the hunt for a leaked secret."""
