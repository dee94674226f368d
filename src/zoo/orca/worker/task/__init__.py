"""Runs in the Spark task, in Spark's Python worker; may import pyspark."""
