"""Batches of the users' own loaders, for Keras's loops."""
