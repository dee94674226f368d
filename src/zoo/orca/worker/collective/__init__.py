"""How the children of all workers talk: one all-reduce, over memory or sockets."""
