"""Runs in the child process that a task starts; never imports pyspark."""
