"""Shared code for all plug-ins."""
