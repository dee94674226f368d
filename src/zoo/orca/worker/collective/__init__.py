"""How the children of all workers communicate: one all-reduce, over memory or sockets."""
