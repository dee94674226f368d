"""Data that the user's creators make on each worker: loaders of any kind, step by step."""
