"""Modules of the original that are not here: importing one says what to use instead."""
