"""The world: api (in), enforce (out), ledger (kept), host (the machine). The four do not know each other."""
