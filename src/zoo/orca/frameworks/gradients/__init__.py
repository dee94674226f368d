"""One fused sum of gradients over all workers, in numpy."""
