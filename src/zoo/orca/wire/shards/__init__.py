"""Shards, and values that functions on them share, on their way between processes."""
