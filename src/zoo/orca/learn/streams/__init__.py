"""Training on streams: each micro-batch once, whatever ends the program."""
