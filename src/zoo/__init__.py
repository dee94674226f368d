"""Namespace of Orca's original import path, ``zoo.orca``."""
