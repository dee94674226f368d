"""Sums among several hosts: which ranks exchange data with which, and in what order."""
