"""What a `fit` will do, and whether its numbers depend on the workers: before it is run."""
