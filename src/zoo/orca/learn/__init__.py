"""Estimators under their original import paths."""
